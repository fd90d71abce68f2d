use strict;
use warnings;

# What an application says in HTTP/1 and what the other one hears, byte for
# byte, through two sidecars: raw sockets on both ends.  The rows of
# ngx_mesh_module/TRANSPARENCY.md name the tests here.

use MeshNginx;
use Test::More;

my $t = MeshNginx->new();
my %answer;                     # by the last word of the path
my $at = '10.244.1.9:8080';

# each answer is what the application writes, bytes or a function

%answer = (
    reason => "HTTP/1.1 200 Just Fine\r\nContent-Length: 2\r\n\r\nok",
    empty => "HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\nok",
    odd => "HTTP/1.1 999 Beyond\r\nContent-Length: 2\r\n\r\nok",
    teapot => "HTTP/1.1 418 I'm a teapot\r\nContent-Length: 2\r\n\r\nok",
    eof => "HTTP/1.1 200 OK\r\n\r\nuntil the end",
    eof10 => "HTTP/1.0 200 OK\r\n\r\nuntil the end",
    204 => "HTTP/1.1 204 No Content\r\nX-A: 1\r\n\r\n",
    304 => "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n"
           . "Content-Length: 77\r\n\r\n",
    head => "HTTP/1.1 200 OK\r\nContent-Length: 12345\r\nX-A: 1\r\n\r\n",
    headchunked => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    chunked => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
               . "5;ext=1\r\nhello\r\n1\r\n,\r\n6\r\n world\r\n0\r\n\r\n",
    zero => "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    many => "HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nx-lower: 1\r\n"
            . "X_Under.Score: v\r\nSet-Cookie: b=2\r\nX-Empty:\r\n"
            . "Location: http://localhost:8080/there\r\nRefresh: 1\r\n"
            . "X-Accel-Redirect: /nowhere\r\nX-Accel-Expires: 3\r\n"
            . "X-Accel-Buffering: yes\r\nX-Accel-Limit-Rate: 1\r\n"
            . "X-Accel-Charset: x\r\nX-Pad: 1\r\nExpires: now\r\n"
            . "Cache-Control: no-store\r\nVary: *\r\n"
            . "Content-Type: TEXT/x; charset=\"Y\"\r\n"
            . "Content-Encoding: gzip\r\nAccept-Ranges: none\r\n"
            . "Last-Modified: never\r\nWWW-Authenticate: Basic\r\n"
            . "Content-Length: 2\r\n\r\nok",
    dated => "HTTP/1.1 200 OK\r\nDate: today\r\nServer: mine/1\r\n"
             . "Content-Length: 2\r\n\r\nok",
    hop => "HTTP/1.1 200 OK\r\nConnection: X-Hop, close\r\nX-Hop: 1\r\n"
           . "X-Far: 2\r\nx-hop: 3\r\nKeep-Alive: timeout=5\r\n"
           . "Upgrade: h2c\r\nContent-Length: 2\r\n\r\nok",
    426 => "HTTP/1.1 426 Upgrade Required\r\nUpgrade: foo/2\r\n"
           . "Connection: Upgrade\r\nContent-Length: 2\r\n\r\nok",
    big => "HTTP/1.1 200 OK\r\nX-Big: " . 'b' x 12000
           . "\r\nContent-Length: 2\r\n\r\nok",
    cut => sub { MeshApp::send_all($_[0], "HTTP/1.1 200 OK\r\n"
                                   . "Content-Length: 100\r\n\r\nonly this") },
    cutchunked => sub { MeshApp::send_all($_[0], "HTTP/1.1 200 OK\r\n"
                        . "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n") },
    clte => "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n"
            . "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    twice => "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n"
             . "\r\nok",
    names => "HTTP/1.1 200 OK\r\nCONTENT-TYPE: a/b\r\ncontent-length: 02\r\n"
             . "x-Odd-CASE:v\r\n\r\nok",
    lf => "HTTP/1.1 200 OK\nContent-Length: 2\nX-A:   1  \n\nok",
    tunnel => "HTTP/1.1 200 Established\r\nContent-Length: 9\r\n"
              . "Transfer-Encoding: chunked\r\n\r\n",
    garbage => "no such protocol\r\n\r\n",
    toobig => "HTTP/1.1 200 OK\r\nX-Big: " . 'b' x 17000
              . "\r\nContent-Length: 2\r\n\r\nok",
    slow => sub {
        my ($s, $app) = @_;

        $app->note((sysread $s, my $byte, 1) ? 'more' : 'gone');
    },
    early => sub { MeshApp::send_all($_[0], "HTTP/1.1 200 OK\r\n"
                                     . "Content-Length: 5\r\n\r\nearly") },
);

my %closes = map { $_ => 1 } qw(eof eof10 cut cutchunked hop garbage slow);


# reads requests, notes their bytes, answers by path

sub serve {
    my ($app, $s) = @_;
    my $text = '';

    while (1) {
        while ($text !~ /\r\n\r\n/) {
            $s->sysread($text, 65536, length $text) or return;
        }

        my ($head) = $text =~ /^(.*?\r\n\r\n)/s;
        my ($name) = $head =~ m{^\S+ \S*?(\w*)(?:\?\S*)? HTTP};
        $name //= '';
        my $body = substr $text, length $head;

        while ($head =~ /^transfer-encoding: chunked/mi
               ? $body !~ /(?:\A|\r\n)0\r\n\r\n/
               : $head =~ /^content-length: (\d+)/mi && length $body < $1)
        {
            $s->sysread($body, 65536, length $body) or last;
        }

        $app->note('port ' . $s->peerport) if $name eq 'port';
        $app->note_bytes($head . $body);
        $text = '';

        if ($head =~ /^X-Tunnel/m) {
            MeshApp::send_all($s, $answer{tunnel});
            return $app->serve_echo($s);
        }

        my $answer = $answer{$name} // "HTTP/1.1 200 OK\r\n"
                                       . "Content-Length: 2\r\n\r\nok";

        ref $answer ? $answer->($s, $app) : MeshApp::send_all($s, $answer);
        return if $closes{$name};
    }
}


my $app = $t->app('raw', $at, serve => \&serve);
my $web = $t->app('raw', '10.244.1.9:9090', serve => \&serve);
my $peer = $t->start_pair();


# what comes back for these bytes; opt{socket} goes on with a connection

sub say_raw {
    my ($bytes, %opt) = @_;
    my $s = $opt{socket} // $t->connect($opt{at} // $at);

    MeshNginx::write_all($s, $bytes);

    return MeshNginx::read_some($s, 1 << 20) if !$opt{keep};
    return MeshNginx::read_response($s, $opt{method})->{head};
}


# what the application got last

sub heard { return ($app->noted(qr/ HTTP/))[-1] }


sub ask {
    my ($name, %opt) = @_;
    my $method = $opt{method} // 'GET';

    return say_raw("$method /$name HTTP/1.1\r\nHost: h\r\n"
                   . ($opt{headers} // '') . "Connection: close\r\n\r\n");
}


# the request's target

for my $target ('/', '/?', '//', '//a//b', '/a/./b/../c', '/a%2fb%2F%20c',
                '/x?', '/x??y', '/x?%2f&=//..', '/a;b=c/d,e', '/~_-.!*()',
                '/%e2%82%ac?%e2', '/x#frag', '/x?a#b', '/|^`{}"<>',
                '/' . 'long' x 5000)
{
    say_raw("GET $target HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    is(heard() =~ s/\\r.*//r, "GET $target HTTP/1.1",
       'target ' . substr $target, 0, 20);
}

for my $target ('http://far.example/x//y?%2f', 'HTTP://far.example',
                'http://far.example:81?q', 'https://far.example/')
{
    say_raw("GET $target HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    is(heard(), "GET $target HTTP/1.1\\r\\nHost: h\\r\\n\\r\\n",
       "absolute target $target");
}

# methods and fields

for my $method (qw(GET POST PUT PATCH DELETE OPTIONS PROPFIND M-SEARCH
                   X_Y QUERY))
{
    say_raw("$method /m HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    is(heard() =~ s/ .*//r, $method, "method $method");
}

my $fields = "X-One: 1\r\nx_under: 2\r\nX.Dot: 3\r\nX-One: 4\r\n"
           . "Cookie: a=b\r\nCookie: c=d\r\nX-Empty: \r\n"
           . "X-Utf: \xe2\x82\xac\r\n"
           . "Authorization: Basic eDp5\r\nProxy-Authorization: z\r\n"
           . "X-Forwarded-For: 1.2.3.4\r\nIf-None-Match: *\r\n"
           . "Range: bytes=0-1\r\nAccept-Encoding: br\r\n"
           . "mesh-error: mine\r\nmesh-unreached: 10.0.0.1:80\r\n";

ask('fields', headers => $fields);
$fields =~ s/\r\n/\\r\\n/g;
$fields =~ s/([\x80-\xff])/sprintf '\\x%02x', ord $1/ge;
is(heard(), "GET /fields HTTP/1.1\\r\\nHost: h\\r\\n$fields\\r\\n",
   'fields pass in order, as they are');

ask('long', headers => 'X-Long: ' . 'l' x 60000 . "\r\n");
is(length heard() =~ s/.*X-Long: (l*).*/$1/r, 60000, 'a field of 60000 bytes');

# what is not kept, since it says the same

say_raw("GET /lf HTTP/1.1\nX-First: 1\nX-Pad:   v  \nX-Tight:v\nX-None:\n"
        . "Host:h\nConnection: close\n\n");
is(heard(), 'GET /lf HTTP/1.1\r\nHost: h\r\nX-First: 1\r\nX-Pad: v\r\n'
            . 'X-Tight: v\r\nX-None: \r\n\r\n',
   'lines end in CRLF, values have one space, Host is first');

my $from = $t->connect($at);

say_raw("GET /port HTTP/1.1\r\nHost: h\r\n\r\n", socket => $from, keep => 1);
isnt(($app->noted(qr/^port/))[-1], 'port ' . $from->sockport,
     'the port that the application sees is its sidecar\'s');
close $from;

# what could be understood in two ways is refused

for (['two Hosts', "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n", 400],
     ['an empty Host', "GET / HTTP/1.1\r\nHost:\r\n", 400],
     ['no Host', "GET / HTTP/1.1\r\n", 400],
     ['two lengths', "GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n"
                     . "Content-Length: 1\r\n", 400],
     ['length and chunked', "GET / HTTP/1.1\r\nHost: h\r\n"
      . "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n", 400],
     ['gzip as transfer coding', "GET / HTTP/1.1\r\nHost: h\r\n"
      . "Transfer-Encoding: gzip, chunked\r\n", 501],
     ['chunked in HTTP/1.0', "GET / HTTP/1.0\r\n"
      . "Transfer-Encoding: chunked\r\n", 400],
     ['NUL in a field', "GET / HTTP/1.1\r\nHost: h\r\nX: a\0b\r\n", 400],
     ['a folded field', "GET / HTTP/1.1\r\nHost: h\r\nX: a\r\n b\r\n", 400],
     ['space before the colon', "GET / HTTP/1.1\r\nHost: h\r\nX : a\r\n",
      400])
{
    my ($what, $bytes, $status) = @$_;
    my $heard = $app->noted(qr/ HTTP/);

    like(say_raw("$bytes\r\n"), qr/^HTTP\/1\.1 $status .*\r\nmesh-error: /s,
         "refused: $what");
    is($app->noted(qr/ HTTP/), $heard, 'by the sidecar');
}

# framing of the request

like(say_raw("POST /b HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n"
             . "Connection: close\r\n\r\nhello"), qr/ok$/, 'body with length');
like(heard(), qr/Content-Length: 5\\r\\n\\r\\nhello$/, 'passes so');

say_raw("POST /b HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n"
        . "Connection: close\r\n\r\n");
like(heard(), qr/Content-Length: 0\\r\\n/, 'so does an empty one');

say_raw("POST /b HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
unlike(heard(), qr/Content-Length|Transfer-Encoding/i, 'none stays none');

my $s = $t->connect($at);
MeshNginx::write_all($s, "POST /b HTTP/1.1\r\nHost: h\r\n"
                     . "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
select undef, undef, undef, 0.1;
like(say_raw("6\r\n world\r\n0\r\n\r\n", socket => $s, keep => 1), qr/200/,
     'a chunked body in pieces');
like(heard(), qr/Transfer-Encoding: chunked\\r\\n\\r\\n(.*)$/,
     'stays chunked');
is(heard() =~ s/.*?\\r\\n\\r\\n//r =~ s/\w+\\r\\n((?:hello| world))\\r\\n/$1/gr
   =~ s/0\\r\\n\\r\\n$//r, 'hello world', 'with all of it');

say_raw("POST /b HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n"
        . "Connection: close\r\n\r\n5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n");
is(heard(), 'POST /b HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello',
   'one that is there at once gets a length, and loses its trailers');

# hop by hop

ask('hop', headers => "Connection: X-Hop, keep-alive\r\nX-Hop: 1\r\n"
                      . "X-Far: 2\r\nKeep-Alive: timeout=5\r\n"
                      . "Connection: x-other\r\nX-Other: 3\r\nx-hop: 4\r\n"
                      . "TE: deflate\r\n");
is(heard(), 'GET /hop HTTP/1.1\r\nHost: h\r\nX-Far: 2\r\n\r\n',
   'what Connection names is taken out of a request');

ask('te', headers => "TE: deflate, trailers;q=0.5\r\n"
                     . "Connection: TE, host, content-length\r\n");
is(heard(), 'GET /te HTTP/1.1\r\nHost: h\r\nConnection: te\r\n'
            . 'TE: trailers\r\n\r\n', 'TE: trailers is asked for again');

my $r = ask('hop');
like($r, qr/\r\nX-Far: 2\r\n/, 'a field of the response passes');
unlike($r, qr/X-Hop|Keep-Alive|Upgrade|timeout/i,
       'those that its Connection names do not');
like(ask('426'), qr/\r\nUpgrade: foo\/2\r\n/, 'but Upgrade of a 426 does');

# HTTP/1.0

$r = say_raw("GET /old HTTP/1.0\r\n\r\n");
is(heard(), 'GET /old HTTP/1.0\r\n\r\n', 'HTTP/1.0 without Host passes so');
like($r, qr{^HTTP/1\.1 200 OK\r\n.*Connection: close\r\n.*\r\nok$}s,
     'and is closed after its answer');

$r = say_raw("GET /chunked HTTP/1.0\r\nHost: h\r\n\r\n");
like($r, qr/\r\n\r\nhello, world$/, 'it gets no chunks');
unlike($r, qr/Transfer-Encoding/i, 'nor is told of any');

$s = $t->connect($at);
like(say_raw("GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
             socket => $s, keep => 1), qr/Connection: keep-alive/i,
     'it may keep its connection');
like(say_raw("GET /b HTTP/1.0\r\n\r\n", socket => $s), qr/ok$/,
     'and use it again');

like(say_raw("POST /b HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc"), qr/ok$/,
     'a body of HTTP/1.0');
like(heard(), qr{ HTTP/1\.0\\r\\n.*abc$}, 'passes');

# the response

for (['reason', 'HTTP/1.1 200 Just Fine'], ['empty', 'HTTP/1.1 200 '],
     ['odd', 'HTTP/1.1 999 Beyond'], ['teapot', "HTTP/1.1 418 I'm a teapot"])
{
    my ($name, $line) = @$_;

    is(ask($name) =~ s/\r\n.*//sr, $line, "status line $name");
}

is(ask($_) =~ s/.*?\r\n\r\n//sr, "d\r\nuntil the end\r\n0\r\n\r\n",
   "a body that ends with the connection: $_") for qw(eof eof10);
is(ask('chunked') =~ s/.*?\r\n\r\n//sr
   =~ s/\w+\r\n(.*?)\r\n/$1/gsr, 'hello, world', 'a chunked body');
like(ask('eof10'), qr{^HTTP/1\.1 200 OK\r\n}, 'the version is the sidecar\'s');
like(ask('zero'), qr/Content-Length: 0\r\n.*\r\n\r\n$/s, 'an empty body');

$r = ask('204');
like($r, qr/^HTTP\/1\.1 204 No Content\r\n.*X-A: 1\r\n\r\n$/s,
     'a 204 passes');
unlike($r, qr/Content-Length|Transfer-Encoding/i, 'without a length');
like(ask('304'), qr/^HTTP\/1\.1 304 .*Content-Length: 77\r\n.*\r\n\r\n$/s,
     '304 keeps its length');

$s = $t->connect($at);

for my $name (qw(204 304 head headchunked reason)) {
    my $method = $name =~ /^head/ ? 'HEAD' : 'GET';

    $r = say_raw("$method /$name HTTP/1.1\r\nHost: h\r\n\r\n", socket => $s,
                 keep => 1, method => $method);
    like($r, qr/^HTTP/, "$method $name on a kept connection");
    like($r, qr/Content-Length: 12345/, 'HEAD keeps the length')
        if $name eq 'head';
}

$r = ask('many');

for my $line (split /\r\n/, $answer{many} =~ s/\r\n\r\n.*//sr) {
    $line =~ s/:$/: /;
    ok(index($r, "\r\n$line\r\n") > 0 || $line =~ /^HTTP/, "field $line");
}

like($r, qr/a=1.*b=2/s, 'equal names stay in order');
unlike($r, qr/^(?:Server|Date):/mi, 'no Server or Date is added');
like(ask('dated'), qr/\r\nDate: today\r\n/, "Date is the application's");
like(ask('dated'), qr/\r\nServer: mine\/1\r\n/s, 'so is Server');
like(ask('big'), qr/X-Big: b{12000}\r\n/, 'a field of 12000 bytes');

like(ask('clte'), qr/^HTTP\/1\.1\ (?:502\ .*mesh-error:\ upstream-invalid
                                      |200\ (?!.*Content-Length).*hello)/sx,
     'a length and chunks: the chunks count, or 502');
like(ask('twice'), qr/^HTTP\/1\.1 502 .*\r\nmesh-error: upstream-invalid/s,
     'two lengths are 502');
$r = ask('names');
like($r, qr/\r\nContent-Type: a\/b\r\n/, 'Content-Type has its usual case');
like($r, qr/\r\nContent-Length: 2\r\n/, 'so has Content-Length');
like($r, qr/\r\nx-Odd-CASE: v\r\n/, 'others keep theirs');
like(ask('lf'), qr/\r\nX-A: 1\r\n(?:.*\r\n)?\r\nok$/s,
     'lines that end in LF alone');

# what breaks off

$r = ask('cut');
like($r, qr/Content-Length: 100\r\n.*\r\n\r\nonly this$/s,
     'a body that is cut stays shorter than its length');
unlike(ask('cutchunked'), qr/\r\n0\r\n\r\n$/,
       'a chunked one that is cut has no last chunk');

like(ask('garbage'), qr/^HTTP\/1\.1 502 .*\r\nmesh-error: upstream-inv/s,
     'what is not HTTP at all is 502');
like(ask('toobig'), qr/^HTTP\/1\.1 502 .*\r\nmesh-error: upstream-/s,
     'a field over the limit is 502');

# a client that ends its direction has gone away

my $gone = $t->connect($at);
MeshNginx::write_all($gone, "GET /slow HTTP/1.1\r\nHost: h\r\n\r\n");
ok($t->wait_for('request', sub { heard() =~ /slow/ }), 'a slow request');
shutdown $gone, 1;
is(MeshNginx::read_some($gone, 1), '', 'whose client ends gets no answer');
ok($t->wait_for('end', sub { $app->noted(qr/^gone/) }),
   'the application is told');

# pipelining

is(() = say_raw("GET /a HTTP/1.1\r\nHost: h\r\n\r\n"
                . "GET /teapot HTTP/1.1\r\nHost: h\r\n\r\n"
                . "GET /c HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
           =~ m{HTTP/1\.1 (?:200|418)}g, 3, 'three requests in one segment');

# an answer before the body is there, and more of the body after it

$s = $t->connect($at);
MeshNginx::write_all($s, "POST /early HTTP/1.1\r\nHost: h\r\n"
                     . "Content-Length: 4\r\n\r\n");
MeshNginx::write_all($s, 'body');
like(MeshNginx::read_response($s)->{body}, qr/early/, 'an early answer');

# what HTTP/1 of nginx refuses passes raw when it comes first

my $before = $web->noted;
my $at_any = '10.96.14.7:90';

for my $line ('CONNECT far.example:443 HTTP/1.1', 'OPTIONS * HTTP/1.1',
              'TRACE / HTTP/1.1', 'get / HTTP/1.1', 'GET /a b HTTP/1.1',
              'GET /')
{
    $s = $t->connect($at_any);
    MeshNginx::write_all($s, "$line\r\nHost: h\r\nX:y\r\n\r\n");
    ok($t->wait_for($line, sub {
        return $web->noted(qr{^\Q$line\E\\r\\nHost: h\\r\\nX:y\\r});
    }), "raw: $line") if $line =~ /HTTP/;
    close $s;
}

# a tunnel, then

my $tunnel = $t->connect($at_any);
MeshNginx::write_all($tunnel, "CONNECT far:1 HTTP/1.1\r\nHost: far:1\r\n"
                              . "X-Tunnel: 1\r\n\r\n");
is(MeshNginx::read_some($tunnel, length $answer{tunnel}), $answer{tunnel},
   'the answer to CONNECT comes as it is');
MeshNginx::write_all($tunnel, "GET \0\xff");
is(MeshNginx::read_some($tunnel, 6), "GET \0\xff", 'and so does the tunnel');
close $tunnel;

# and is told apart later

for (['OPTIONS * HTTP/1.1', 400], ['TRACE / HTTP/1.1', 405],
     ['CONNECT h:1 HTTP/1.1', '40[05]'], ["GET /%zz HTTP/1.1", 400],
     ["GET /../.. HTTP/1.1", 400])
{
    my ($line, $status) = @$_;

    $r = say_raw("$line\r\nHost: h\r\nConnection: close\r\n\r\n",
                 socket => do {
                     my $kept = $t->connect($at);
                     say_raw("GET /a HTTP/1.1\r\nHost: h\r\n\r\n",
                             socket => $kept, keep => 1);
                     $kept;
                 });
    like($r, qr/^HTTP\/1\.1 $status .*\r\nmesh-error: /s,
         "later on a connection: $line is $status");
}

done_testing();
