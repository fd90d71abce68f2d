use strict;
use warnings;

# The state is swapped and refused live; addresses that it lacks are held.

use MeshNginx;
use Test::More;
use IO::Socket::UNIX;
use Socket qw(SOCK_DGRAM);
use Time::HiRes qw(time);

my $t = MeshNginx->new();
my $state = $t->dir . '/run/state';
my $late = 'mesh_service shop/late:80 { address 10.96.15.1:80; protocol http1;'
         . ' endpoint 10.244.1.10:8080 workload=shop/old-1; }';

$t->new_cert('web');
$t->use_cert('web');

my $old = $t->app('http', '10.244.1.10:8080', name => 'old');
my $next = $t->app('http', '10.244.1.11:8080', name => 'next');
my $web = $t->app('http', '10.244.0.5:8080', name => 'web');

my $agent = IO::Socket::UNIX->new(Type => SOCK_DGRAM,
                                  Local => $t->dir . '/run/agent.sock')
    or die "agent.sock: $!";


# what workers told the agent since the last time

sub told {
    my @lines;

    $agent->blocking(0);
    push @lines, $_ while defined $agent->recv($_, 512) && length $_;
    chomp @lines;

    return @lines;
}


sub generation {
    my $metrics = $t->metrics();
    my %seen = map { $metrics->{$_} => 1 }
               grep { /^mesh_state_generation/ } keys %$metrics;

    return join ',', sort keys %seen;
}


sub refused {
    my ($address) = @_;

    return !eval { $t->get($address, '/'); 1 };
}


$t->start(workers => 2,
          main => 'mesh_agent unix:' . $t->dir . '/run/agent.sock;');

# no state at all: nothing of the cluster is known

is(generation(), '0', 'nginx starts without a state');
ok(refused('10.96.14.8:80'), 'a service is held, then refused');
ok((grep { $_ eq 'want 10.96.14.8:80' } told()), 'and asked for');

$t->state(MeshNginx::shop(generation => 5));
$t->own();
ok($t->wait_for('generation 5', sub { generation() eq '5' }),
   'both workers take the state when it comes');
ok($t->wait_for('reports', sub { grep { $_ eq 'state 5 ok' } told() }),
   'and report it');
is($t->get('10.96.14.8:80', '/')->{status}, 200, 'a service answers');

# a connection that waits is served when its address comes

my $s = $t->connect('10.96.15.1:80');

MeshNginx::write_all($s, "GET /held HTTP/1.1\r\nHost: x\r\n\r\n");
ok($t->wait_for('want', sub { grep { $_ eq 'want 10.96.15.1:80' } told() }),
   'an unknown address is asked for')
    or diag($t->error_log());
$t->state(MeshNginx::shop(generation => 6, extra => $late));
is(MeshNginx::read_response($s)->{body}, "old GET /held\n",
   'and served when it is known');
is($t->metrics()->{mesh_connections_held}, 0, 'nobody waits any more');

my $began = time;

ok(refused('10.9.9.9:80'), 'one that nobody knows is refused');
ok(time - $began > 0.4, 'after it was held');
$began = time;
ok(refused('10.96.14.99:80'), "one that is nobody's");
ok(time - $began < 0.4, 'at once');

# negative answers count only when the state is complete

$t->state(MeshNginx::shop(generation => 7, complete => 'off'));
ok($t->wait_for('generation 7', sub { generation() eq '7' }),
   'an incomplete state');
told();
ok(refused('10.96.14.99:80'), "nobody's address is refused");
ok((grep { $_ eq 'want 10.96.14.99:80' } told()), 'but asked for again');

$t->state(MeshNginx::shop(generation => 8, unknown => 'pass',
          extra => 'mesh_service shop/moved:80 { address 10.96.15.2:80;'
                 . ' protocol http1; endpoint 10.244.1.10:8080; }'));
ok($t->wait_for('generation 8', sub { generation() eq '8' }),
   'unknown_in_cluster pass');
is($t->get('10.244.1.11:8080', '/')->{body}, "next GET /\n",
   'lets an unknown address pass');
is($t->metric('request_total', tls => 'unknown'), 1, 'counted as such');

# an endpoint moves while a connection is open

$s = $t->connect('10.96.15.2:80');

like($t->get('', '/1', socket => $s)->{body}, qr/^old/, 'an endpoint');
$t->state(MeshNginx::shop(generation => 9,
          extra => 'mesh_service shop/moved:80 { address 10.96.15.2:80;'
                 . ' protocol http1; endpoint 10.244.1.11:8080; }'));
ok($t->wait_for('generation 9', sub { generation() eq '9' }), 'moves');
like($t->get('', '/2', socket => $s)->{body}, qr/^next/,
     'and the next request on the same connection follows');

# files that must not be taken

my $good = MeshNginx::slurp($state);
my $refusals = $t->metrics()->{mesh_state_refused_total};


my @reports;

sub must_refuse {
    my ($what, $bytes) = @_;

    push @reports, told();
    $t->put_state($bytes);
    ok($t->wait_for($what, sub {
        return $t->metrics()->{mesh_state_refused_total} >= $refusals + 2;
    }), "refused by both workers: $what");
    $refusals = $t->metrics()->{mesh_state_refused_total};
    is(generation(), '9', 'the last good one stays');
}


must_refuse('empty', '');
must_refuse('truncated', substr($good, 0, length($good) - 8));
must_refuse('only a head', substr($good, 0, 152));
must_refuse('longer', $good . "\0" x 8);

for my $at (0, 8, 64, length($good) / 2, length($good) - 1) {
    my $bytes = $good;

    substr($bytes, $at, 1) ^= "\x10";
    must_refuse("bit of byte $at", $bytes);
}

must_refuse('another layout',
            substr($good, 0, 8) . pack('V', 99) . substr($good, 12));

is($t->get('10.96.15.2:80', '/')->{status}, 200, 'traffic goes on');
ok((grep { /^state \d+ refused ./ } @reports), 'and the agent is told why');

$t->state(MeshNginx::shop(generation => 10));
ok($t->wait_for('generation 10', sub { generation() eq '10' }),
   'the next good one is taken');

# a state that goes away is not missed

unlink $state;
select undef, undef, undef, 0.2;
is($t->get('10.96.14.8:80', '/')->{status}, 200,
   'a file that is removed changes nothing');

done_testing();
