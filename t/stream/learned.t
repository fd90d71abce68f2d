use strict;
use warnings;

# Ports that nobody declared: the time of detection is paid once, not by each
# connection, and what was learned can be unlearned.

use MeshNginx;
use Test::More;
use Time::HiRes qw(time sleep);

my $t = MeshNginx->new();

$t->new_cert('web');
$t->use_cert('web');
$t->state(MeshNginx::shop(extra => <<END));
mesh_service shop/echo:90 {
    address 10.96.17.1:90; protocol detect; endpoint 10.244.1.11:9090;
}
mesh_service shop/http:90 {
    address 10.96.17.2:90; protocol detect; endpoint 10.244.1.11:8080;
}
mesh_service shop/tls:90 {
    address 10.96.17.3:90; protocol detect; endpoint 10.244.1.11:8443;
}
END

my ($first_at, $echo_at, $http_at, $tls_at)
    = ('10.96.14.8:90', map { "10.96.17.$_:90" } 1 .. 3);

my $first = $t->app('first', '10.244.1.10:9090', name => 'first');
my $echo = $t->app('raw', '10.244.1.11:9090', serve => sub {
    $_[0]->note('open');
    $_[0]->serve_echo($_[1]);
});
my $http = $t->app('http', '10.244.1.11:8080', name => 'http');
my $tls = $t->app('echo', '10.244.1.11:8443', own_tls => 'web');
my $pod = $t->app('first', '10.244.0.5:9090', name => 'pod');

$t->start(main => 'mesh_detect timeout=500ms;');


# milliseconds until the server has greeted

sub greeted {
    my ($at) = @_;
    my $began = time;
    my $s = $t->connect($at);

    MeshNginx::read_some($s, 5);

    return 1000 * (time - $began);
}


sub counted { return $t->metrics()->{"mesh_detect_$_[0]_total"} // 0 }


# sends before the worker can look

sub at_once {
    my ($at, $bytes) = @_;
    my @workers = $t->workers();

    kill 'STOP', @workers;

    my $s = $t->connect($at);
    MeshNginx::write_all($s, $bytes);
    kill 'CONT', @workers;

    return MeshNginx::read_some($s, 4);
}


# the server speaks first

cmp_ok(greeted($first_at), '>=', 490, 'the first one waits');
cmp_ok(greeted($first_at), '<', 400, "the next one does not, $_") for 1 .. 3;
is(counted('timeout'), 1, 'one waited');
is(counted('learned'), 3, 'three did not');

$t->reload();
cmp_ok(greeted($first_at), '<', 400, 'nor after a reload');
cmp_ok(greeted('[fd00:96::8]:90'), '>=', 490,
       'another address of it has to be learned by itself');

# what comes in may always be mesh TLS, whoever spoke first to others

cmp_ok(greeted('10.244.0.5:9090'), '>=', 490, "inbound each one waits, $_")
    for 1 .. 2;

# HTTP there takes it back

at_once($first_at, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
cmp_ok(greeted($first_at), '>=', 490, 'HTTP is waited for again');
cmp_ok(greeted($first_at), '<', 400, 'until the server speaks first');

# a client that is only slow proves nothing

my $learned = counted('learned');

for (1 .. 3) {
    my $s = $t->connect($http_at);
    sleep 0.7;
    is($t->get('', "/$_", socket => $s)->{body}, "http GET /$_\n",
       "a slow client of HTTP passes raw, $_");
    close $s;
}

is(at_once($http_at, "GET / HTTP/1.1\r\nHost: h\r\n\r\n"), 'HTTP',
   'others do not');
is(counted('learned'), $learned, 'nothing was learned of it');
is($t->metric('request_total', dst_service => 'http'), 1, 'HTTP is counted');

# three of no protocol are enough

for (1 .. 3) {
    is(at_once($echo_at, "\0\1\2\3"), "\0\1\2\3", "bytes of no protocol, $_");
}

my $opened = $echo->noted(qr/open/);
my $began = time;

my $s = $t->connect($echo_at);
ok($t->wait_for('connection', sub { $echo->noted(qr/open/) > $opened }),
   'who says nothing then is passed on');
cmp_ok(time - $began, '<', 0.4, 'at once');
close $s;

# TLS is known by its first bytes, always

for (1 .. 4) {
    $s = $t->connect($tls_at, sni => 'tls.example');
    MeshNginx::write_all($s, 'ping');
    is(MeshNginx::read_some($s, 4), 'ping', "an application's TLS, $_");
    close $s;
}

is($t->metric('tcp_open_total', dst_service => 'tls', tls => 'opaque'), 4,
   'is seen as such');

done_testing();
