use strict;
use warnings;

# WebSocket and other upgrades through two sidecars, also through reload and
# drain of both.

use MeshNginx;
use Test::More;

my $t = MeshNginx->new();
my $at = '10.244.1.9:8080';

# 101 for who asks by Upgrade, and then an echo in which "!" says something
# of its own accord

my $app = $t->app('raw', $at, serve => sub {
    my ($app, $s) = @_;

    while (1) {
        my $head = '';

        while ($head !~ /\r\n\r\n\z/) {
            $s->sysread($head, 1, length $head) or return;
        }

        $app->note_bytes($head);

        my ($protocol) = $head =~ /^Upgrade: (\S+)/mi;

        if (!$protocol || $head =~ m{^GET /refuse}) {
            MeshApp::send_all($s, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"
                                  . "\r\nno");
            next;
        }

        MeshApp::send_all($s, "HTTP/1.1 101 Switching Protocols\r\n"
                              . "Upgrade: $protocol\r\nConnection: Upgrade\r\n"
                              . "Sec-WebSocket-Accept: s3pPL\r\n\r\nfirst");

        while ($s->sysread(my $part, 65536)) {
            $app->note_bytes($part);
            MeshApp::send_all($s, $part =~ /^!/ ? "own\x00\xff" : $part);
        }

        $app->note('end');
        return;
    }
});

my $peer = $t->start_pair();

my $ws = "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"
         . "Sec-WebSocket-Key: dGhl\r\nSec-WebSocket-Version: 13\r\n";


sub open_ws {
    my (%opt) = @_;
    my $s = $opt{socket} // $t->connect($at);

    MeshNginx::write_all($s, ($opt{line} // 'GET /chat HTTP/1.1')
                             . "\r\nHost: h\r\n" . ($opt{headers} // $ws)
                             . "\r\n" . ($opt{data} // ''));

    return ($s, MeshNginx::read_response($s));
}


sub echo {
    my ($s, $text) = @_;

    MeshNginx::write_all($s, $text);

    return MeshNginx::read_some($s, length $text);
}


my ($s, $r) = open_ws();

is($r->{status}, 101, 'an upgrade is answered');
is($r->{headers}{upgrade}, 'websocket', 'with its protocol');
like($r->{headers}{connection}, qr/^upgrade$/i, 'of this connection');
is($r->{headers}{'sec-websocket-accept'}, 's3pPL', 'and what else it needs');
is(($app->noted)[-1], 'GET /chat HTTP/1.1\r\nHost: h\r\nConnection: upgrade'
   . '\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhl\r\n'
   . 'Sec-WebSocket-Version: 13\r\n\r\n', 'the application was asked so');
is(MeshNginx::read_some($s, 5), 'first', 'bytes right behind 101 come');
is(echo($s, "\x81\x05hello\x00\r\n"), "\x81\x05hello\x00\r\n", 'and go');

# bytes of every kind, both ways

my $bytes = join '', map { chr $_ } 0 .. 255;
my $long = $bytes x 2000;
my $pid = fork;

if (!$pid) {
    MeshNginx::write_all($s, $long);
    POSIX::_exit(0);
}

ok(MeshNginx::read_some($s, length $long) eq $long, 'half a megabyte');
waitpid $pid, 0;

MeshNginx::write_all($s, '!');
is(MeshNginx::read_some($s, 5), "own\x00\xff", 'the server speaks first');

# data in the segment of the request

my ($s2) = open_ws(data => 'early');
is(MeshNginx::read_some($s2, 10), 'firstearly', 'data behind the request');
close $s2;

# other protocols, and who may not have one

($s2, $r) = open_ws(headers => "Connection: upgrade\r\nUpgrade: foo/2\r\n");
is("$r->{status} $r->{headers}{upgrade}", '101 foo/2', 'another protocol');
close $s2;

($s2, $r) = open_ws(line => 'GET /refuse HTTP/1.1');
is("$r->{status} $r->{body}", '200 no', 'a refusal is an answer');
($s2, $r) = open_ws(line => 'GET /refuse HTTP/1.1', socket => $s2);
is($r->{body}, 'no', 'after which the connection goes on');
($s2, $r) = open_ws(socket => $s2);
is($r->{status}, 101, 'to an upgrade, too');
close $s2;

for (['without Connection', "Upgrade: websocket\r\n"],
     ['in HTTP/1.0', $ws, 'GET /chat HTTP/1.0'],
     ['to h2c', "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
                . "HTTP2-Settings: AAM\r\n"])
{
    my ($what, $headers, $line) = @$_;

    ($s2, $r) = open_ws(headers => $headers,
                        line => $line // 'GET /chat HTTP/1.1');
    is($r->{status}, 200, "no upgrade $what");
    unlike(($app->noted)[-1], qr/Upgrade:|HTTP2-Settings/,
           'and the application is not asked for one');
    close $s2;
}

($s2, $r) = open_ws(headers => "Connection: upgrade\r\n"
                               . "Upgrade: h2c, websocket, foo/1\r\n");
like(($app->noted(qr/GET/))[-1], qr/Upgrade: websocket, foo\/1\\r/,
     'h2c is left out of a list');
close $s2;

# reload of both sides, twice, and drain

$_->reload(old => 1) for $t, $peer;
is(echo($s, 'after a reload'), 'after a reload', 'it outlives a reload');
my ($young) = open_ws();
is(MeshNginx::read_some($young, 5), 'first', 'the new workers upgrade');
$_->reload(old => 1) for $peer, $t;
is(echo($s, 'and another'), 'and another', 'and another one');
is(echo($young, 'younger'), 'younger', 'which both live through');

kill 'QUIT', $_->{pid} for $t, $peer;
ok($t->wait_for('no listener', sub {
    return !eval { $t->connect('127.0.0.1:4140'); 1 };
}), 'both sidecars drain, and take no new connection');
is(echo($s, 'draining'), 'draining', 'it goes on meanwhile');
is(echo($young, 'draining'), 'draining', 'so does the younger one');

# each end is told to the other one; then nothing holds the sidecars

my $ends = $app->noted(qr/^end/);

close $s;
ok($t->wait_for('end', sub { $app->noted(qr/^end/) > $ends }),
   'the end of the client reaches the application');
$app->stop();
is(MeshNginx::read_some($young, 1), '',
   'the end of the application reaches the client');
close $young;

for ($t, $peer) {
    my $sidecar = $_;

    ok($t->wait_for('exit', sub {
        waitpid($sidecar->{pid}, POSIX::WNOHANG()) == $sidecar->{pid};
    }), 'a sidecar without connections ends');
    delete $sidecar->{pid};
}

done_testing();
