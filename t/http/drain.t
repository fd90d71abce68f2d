use strict;
use warnings;

# The end of both sidecars, step by step: idle connections are closed, what is
# under way is finished, and TCP is waited for.

use MeshNginx;
use Test::More;

my $t = MeshNginx->new();
my $at = '10.244.1.9:8080';
my $app = $t->app('http', $at, name => 'app');
my $tcp = $t->app('echo', '10.244.1.9:6379', name => 'tcp');
my $peer = $t->start_pair();
my $tcp_at = '10.96.14.7:6379';


sub exited {
    my ($sidecar) = @_;

    return $t->wait_for('exit', sub {
        waitpid($sidecar->{pid}, POSIX::WNOHANG()) == $sidecar->{pid};
    });
}


# one of each: idle for long, idle in detection, under way, a session

my $idle = $t->connect($at);
is($t->get('', '/idle', socket => $idle)->{status}, 200, 'a kept connection');

my $silent = $t->connect('10.96.14.7:80');

my $slow = $t->connect($at);
MeshNginx::write_all($slow, "GET /slow HTTP/1.1\r\nHost: h\r\n\r\n");
ok($t->wait_for('request', sub { $app->noted(qr{GET /slow}) }),
   'a request under way');

my $session = $t->connect($tcp_at);
MeshNginx::write_all($session, 'one');
is(MeshNginx::read_some($session, 3), 'one', 'a session');

kill 'QUIT', $_->{pid} for $peer, $t;

is(MeshNginx::read_some($idle, 1), '', 'an idle connection is closed');
is(MeshNginx::read_some($silent, 1), '', 'so is one that has said nothing');

MeshNginx::write_all($session, 'two');
is(MeshNginx::read_some($session, 3), 'two', 'the session goes on');

MeshNginx::spew($t->dir . '/go', '');

my $r = MeshNginx::read_response($slow);

is("$r->{status} $r->{body}", "200 app GET /slow\n",
   'the request under way is answered');
is($r->{headers}{connection}, 'close', 'as the last one');
is(MeshNginx::read_some($slow, 1), '', 'and its connection closed');

MeshNginx::write_all($session, 'three');
is(MeshNginx::read_some($session, 5), 'three', 'the session goes on still');
ok(kill(0, $t->{pid}) && kill(0, $peer->{pid}), 'both sidecars wait for it');

close $session;

for ($peer, $t) {
    ok(exited($_), 'its end is the end of a sidecar');
    delete $_->{pid};
}

done_testing();
