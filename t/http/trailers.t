use strict;
use warnings;

# Trailers of HTTP/1 responses, on every nginx, through two sidecars.

use MeshNginx;
use Test::More;
use Time::HiRes qw(sleep);

my $t = MeshNginx->new();
my $at = '10.244.1.9:8080';

my $body = "5\r\nhello\r\n6;x=y\r\n world\r\n";
my %trailer = (
    one => "0\r\nX-Sum: abc\r\n\r\n",
    two => "0;last\r\nX-Sum: abc\r\ngrpc-status:  0 \r\nX-Empty:\r\n\r\n",
    lf => "0\nX-Sum: abc\n\n",
    none => "0\r\n\r\n",
    bad => "0\r\nX-Sum: abc\r\nno field\r\n folded: 1\r\nX-\x01: 1\r\n"
           . "X-B: a\x00b\r\nX-Last: 1\r\n\r\n",
    framing => "0\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n"
               . "Host: x\r\nConnection: close\r\nTrailer: x\r\n"
               . "X-Sum: abc\r\n\r\n",
    large => "0\r\nX-Sum: abc\r\nX-Large: " . 'l' x 10000 . "\r\n\r\n",
    huge => "0\r\n" . join('', map { "X-$_: " . 'h' x 1000 . "\r\n" } 1 .. 40)
            . "\r\n",
);

my $app = $t->app('raw', $at, serve => sub {
    my ($app, $s) = @_;

    while (1) {
        my $head = '';

        while ($head !~ /\r\n\r\n\z/) {
            $s->sysread($head, 1, length $head) or return;
        }

        $app->note_bytes($head);

        my ($name, $slow) = $head =~ m{^\S+ /(\w+)(\?slow)?} or return;
        my $text = "HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\n"
                   . "Transfer-Encoding: chunked\r\n\r\n";

        $text .= $body . $trailer{$name} if $head !~ /^HEAD/;

        for my $part ($slow ? split //, $text : $text) {
            MeshApp::send_all($s, $part);
            sleep 0.001 if $slow;
        }
    }
});

my $peer = $t->start_pair();
my $kept = $t->connect($at);


# header, body and trailer section of the response

sub ask {
    my ($name, %opt) = @_;
    my $s = $t->connect($at);
    my $version = $opt{version} // '1.1';

    MeshNginx::write_all($s, ($opt{method} // 'GET') . " /$name HTTP/$version"
                             . "\r\nHost: h\r\nConnection: close\r\n\r\n");

    my $text = MeshNginx::read_some($s, 1 << 20);
    my ($head, $rest) = split /\r\n\r\n/, $text, 2;
    my ($chunks, $trailers) = $rest =~ /^(.*?)(?:^|(?<=\r\n))0\r\n(.*)\r\n$/s;

    return ($head, $chunks // $rest, $trailers);
}


for my $slow ('', '?slow') {
    my ($head, $chunks, $trailers) = ask("one$slow");

    is($trailers, "X-Sum: abc\r\n", "a trailer$slow");
    like($head, qr/^Trailer: X-Sum\r?$/m, 'is announced');
    is($chunks =~ s/\w+\r\n(.*?)\r\n/$1/gsr, 'hello world', 'after the body');

    is((ask("two$slow"))[2],
       "X-Sum: abc\r\ngrpc-status: 0\r\nX-Empty: \r\n", "three$slow");
    is((ask("none$slow"))[2], '', "none$slow");
    is((ask("bad$slow"))[2], "X-Sum: abc\r\nX-Last: 1\r\n",
       "what is no field does not pass$slow");
    is((ask("framing$slow"))[2], "X-Sum: abc\r\n",
       "nor does what frames a message$slow");
}


# newer versions of nginx break off a body whose lines do not end in CRLF

is((ask('lf'))[2] // "X-Sum: abc\r\n", "X-Sum: abc\r\n",
   'lines that end in LF');

is(length((ask('large'))[2]), 10000 + 23, 'a large one');
is((ask('huge'))[2], '', 'too many are dropped');
like($t->error_log . $peer->error_log, qr/trailers of a response were dropped/,
     'which is logged');

# the next response on the same connection has none of it

for my $n (1 .. 3) {
    MeshNginx::write_all($kept, "GET /one HTTP/1.1\r\nHost: h\r\n\r\n");
    my $text = '';

    while ($text !~ /X-Sum: abc\r\n\r\n\z/) {
        $text .= MeshNginx::read_some($kept, 1);
    }

    like($text, qr/world\r\n0\r\nX-Sum: abc\r\n\r\n\z/, "kept connection, $n");
}

MeshNginx::write_all($kept, "GET /none HTTP/1.1\r\nHost: h\r\n\r\n");
my $text = '';
$text .= MeshNginx::read_some($kept, 1) while $text !~ /\r\n0\r\n.*\r\n\z/s;
like($text, qr/world\r\n0\r\n\r\n\z/, 'none of them is left behind');

# who cannot have them

my ($head, $rest) = ask('one', version => '1.0');
unlike($head . $rest, qr/X-Sum: abc/, 'HTTP/1.0 gets no trailer');
like($rest, qr/^hello world$/, 'but the body');

($head) = ask('one', method => 'HEAD');
like($head, qr/^HTTP\/1\.1 200/, 'nor does HEAD');

done_testing();
