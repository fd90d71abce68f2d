use strict;
use warnings;

# Interim responses and "Expect: 100-continue", end to end through two
# sidecars: who says 100 is the application.

use MeshNginx;
use Test::More;
use Time::HiRes qw(sleep);

my $t = MeshNginx->new();
my $at = '10.244.1.9:8080';

# each case is what the application does with a connection whose first header
# it has read

my %case = (
    continue => sub {
        my ($s) = @_;

        send_it($s, "HTTP/1.1 100 Continue\r\n\r\n");
        read_body($s, 4);
        send_it($s, final('took it'));
    },
    slow => sub {
        my ($s) = @_;

        for my $c (split //, "HTTP/1.1 100 Continue\r\nX-A: 1\r\n\r\n"
                             . "HTTP/1.1 103 Early Hints\r\n"
                             . "Link: </a>\r\n\r\n" . final('slowly'))
        {
            send_it($s, $c);
            sleep 0.002;
        }
    },
    refuse => sub { send_it($_[0], "HTTP/1.1 417 No\r\nContent-Length: 2\r\n"
                                   . "\r\nno") },
    hints => sub {
        my ($s) = @_;

        send_it($s, "HTTP/1.1 102 Processing\r\n\r\n");
        send_it($s, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n"
                    . "Connection: X-Hop\r\nX-Hop: 1\r\nBad Line\r\n"
                    . "Link: </b>\r\nTransfer-Encoding: chunked\r\n\r\n"
                    . "HTTP/1.1 103 Early Hints\r\nLink: </c>\r\n\r\n"
                    . final('hinted'));
    },
    late => sub {
        my ($s) = @_;

        send_it($s, "HTTP/1.1 102 Processing\r\n\r\n");
        sleep 0.2;
        send_it($s, final('late'));
    },
    unknown => sub { send_it($_[0], "HTTP/1.1 199 Whatever\r\nX-A: 1\r\n\r\n"
                                    . final('after 199')) },
    lf => sub { send_it($_[0], "HTTP/1.1 103 Early Hints\nLink: </a>\n\n"
                               . final('after LF')) },
    many => sub { send_it($_[0], ("HTTP/1.1 103 Early Hints\r\nX-A: "
                                  . 'a' x 5000 . "\r\n\r\n") x 20
                                 . final('after many')) },
    flood => sub {
        my $hint = "HTTP/1.1 103 Early Hints\r\nX-A: " . 'a' x 2000
                   . "\r\n\r\n";

        send_it($_[0], $hint) for 1 .. 2000;
        send_it($_[0], final('after the flood'));
    },
    only => sub { send_it($_[0], "HTTP/1.1 100 Continue\r\n\r\n");
                  shutdown $_[0], 2 },
    switch => sub { send_it($_[0], "HTTP/1.1 101 Switching Protocols\r\n"
                                   . "Upgrade: x\r\nConnection: upgrade\r\n"
                                   . "\r\n") },
    old => sub { send_it($_[0], "HTTP/1.0 100 Continue\r\n\r\n"
                                . final('after HTTP/1.0')) },
);


sub send_it { MeshApp::send_all(@_) }

sub final {
    return "HTTP/1.1 200 OK\r\nContent-Length: " . length($_[0])
           . "\r\n\r\n$_[0]";
}


sub read_body {
    my ($s, $n) = @_;
    my $body = '';

    $s->sysread($body, $n, length $body) or last while length $body < $n;

    return $body;
}


my $app = $t->app('raw', $at, serve => sub {
    my ($app, $s) = @_;

    while (1) {
        my $head = '';

        while ($head !~ /\r\n\r\n\z/) {
            $s->sysread($head, 1, length $head) or return;
        }

        my ($name) = $head =~ m{^\S+ /(\w+)};

        $app->note_bytes($head);
        $case{$name // return}->($s);
        return if $name =~ /only|switch/;
    }
});

my $peer = $t->start_pair();


# sends a header; returns the connection

sub begin {
    my ($name, %opt) = @_;
    my $s = $opt{socket} // $t->connect($at);
    my $headers = $opt{headers} // '';
    my $version = $opt{version} // '1.1';
    my $method = $headers =~ /Content-Length/ ? 'POST' : 'GET';

    MeshNginx::write_all($s, "$method /$name HTTP/$version\r\nHost: h\r\n"
                             . "$headers\r\n");

    return $s;
}


my $expect = "Expect: 100-continue\r\nContent-Length: 4\r\n";
my $s = begin('continue', headers => $expect);
my $r = MeshNginx::read_response($s);

is($r->{status}, 100, 'the application says 100');
like(($app->noted)[-1], qr/Expect: 100-continue/, 'which was asked for it');

MeshNginx::write_all($s, 'body');
is(MeshNginx::read_response($s)->{body}, 'took it', 'and gets the body');

$s = begin('continue', headers => $expect, socket => $s);
is(MeshNginx::read_response($s)->{status}, 100, 'again on this connection');
MeshNginx::write_all($s, 'body');
is(MeshNginx::read_response($s)->{body}, 'took it', 'and again');

$s = begin('continue', headers => $expect);
MeshNginx::write_all($s, 'body');
is(MeshNginx::read_response($s)->{status}, 100, 'a client that does not wait');
is(MeshNginx::read_response($s)->{body}, 'took it', 'is served');

$s = begin('continue', headers => "Expect: 100-continue\r\n"
                                  . "Transfer-Encoding: chunked\r\n");
is(MeshNginx::read_response($s)->{status}, 100, 'before a chunked body');
MeshNginx::write_all($s, "4\r\nbody\r\n0\r\n\r\n");

$s = begin('refuse', headers => $expect);
$r = MeshNginx::read_response($s);
is($r->{status}, 417, 'a refusal comes instead of 100');
is($r->{body}, 'no', 'whole');
is($r->{headers}{connection}, 'close', 'and no body is waited for');
is(MeshNginx::read_some($s, 1), '', 'the connection ends');

# byte by byte, and the next request on the same connection

$s = begin('slow', headers => "Content-Length: 0\r\n");
$r = MeshNginx::read_response($s);
is("$r->{status} $r->{headers}{'x-a'}", '100 1', 'a 100 byte by byte');
is(MeshNginx::read_response($s)->{headers}{link}, '</a>', 'then a 103');
is(MeshNginx::read_response($s)->{body}, 'slowly', 'then the response');

$s = begin('hints', socket => $s);
is(MeshNginx::read_response($s)->{status}, 102, 'a 102 on a kept connection');
$r = MeshNginx::read_response($s);
is($r->{head}, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nLink: </b>\r\n\r\n",
   'a 103 without what belongs to the connection');
is(MeshNginx::read_response($s)->{headers}{link}, '</c>', 'another one');
is(MeshNginx::read_response($s)->{body}, 'hinted', 'then the response');

$s = begin('late');
is(MeshNginx::read_response($s)->{status}, 102, 'a 102 comes at once');
is(MeshNginx::read_response($s)->{body}, 'late', 'the response later');

for (['unknown', 199], ['lf', 103], ['old', 100]) {
    my ($name, $status) = @$_;

    $s = begin($name);
    is(MeshNginx::read_response($s)->{status}, $status, "interim: $name");
    like(MeshNginx::read_response($s)->{body}, qr/after/, 'and the response');
}

$s = begin('many');
my $n = 0;
$n++ while ($r = MeshNginx::read_response($s))->{status} == 103;
is($n, 20, 'more of them than a buffer holds');
is($r->{body}, 'after many', 'and the response');

# HTTP/1.0 does not know them

for my $name (qw(hints slow)) {
    $s = begin($name, version => '1.0', headers => "Connection: keep-alive\r\n"
                      . ($name eq 'slow' ? "Content-Length: 0\r\n" : ''));
    is(MeshNginx::read_response($s)->{status}, 200,
       "HTTP/1.0 gets none: $name");
}

# what is no interim response

$s = begin('only');
$r = MeshNginx::read_response($s);
$r = MeshNginx::read_response($s) if $r->{status} == 100;
is($r->{status}, 502, 'an end after 100 is an error');
like($r->{headers}{'mesh-error'}, qr/^upstream-/, 'which is told');

$s = begin('switch');
is(MeshNginx::read_response($s)->{status}, 502,
   'a switch of protocols that nobody asked for is an error');

# a client that does not read does not fill our memory, and gets the response

my ($worker) = $t->workers();


sub resident {
    return MeshNginx::slurp("/proc/$worker/status") =~ /VmRSS:\s+(\d+)/ && $1;
}


my $before = resident();

for my $read (0, 1) {
    $s = begin('flood', headers => "Connection: close\r\n");
    sleep 0.5 if !$read;
    like(MeshNginx::read_some($s, 1 << 30), qr/\r\n\r\nafter the flood$/,
         $read ? 'a flood of them passes' : 'who does not read gets less');
}

cmp_ok(resident() - $before, '<', 1000, 'nothing of it was kept')
    if !$ENV{MESH_ASAN};                   # which keeps what was freed

$s = begin('flood');
close $s;
is(MeshNginx::read_response(begin('late'))->{status}, 102, 'all goes on');

done_testing();
