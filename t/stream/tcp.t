use strict;
use warnings;

# Raw TCP out of the pod and into it: detection, mutual TLS, byte counts.

use MeshNginx;
use Test::More;
use Time::HiRes qw(time);

my $t = MeshNginx->new();

$t->new_ca('foreign');
$t->new_cert($_) for qw(web cart app);
$t->use_cert('web');
$t->state(MeshNginx::shop(extra => <<END));
mesh_service shop/mixed:6379 {
    address 10.96.15.1:6379;
    protocol opaque;
    endpoint 10.244.1.9:6379 workload=shop/cart-1;
    endpoint 10.244.1.10:6379 workload=shop/old-1;
}
mesh_service shop/none:6379 { address 10.96.15.2:6379; protocol opaque; }
END

my $cart = $t->app('echo', '10.244.1.9:6379', name => 'cart', tls => 'cart');
my $old = $t->app('echo', '10.244.1.10:6379', name => 'old');
my $first = $t->app('first', '10.244.1.10:9090', name => 'first');
my $tls = $t->app('echo', '10.244.1.10:8443', own_tls => 'app');
my $web = $t->app('echo', '10.244.0.5:6379', name => 'web');
my $web_first = $t->app('first', '10.244.0.5:9090', name => 'web');
my $web_tls = $t->app('echo', '10.244.0.5:8443', own_tls => 'app');

$t->start(stream => <<END);
    log_format lasting '\$mesh_service \$mesh_endpoint \$upstream_addr '
                       '\$mesh_server_id \$mesh_tls';
    access_log @{[$t->dir()]}/run/lasting.log lasting;
END

my %out = (direction => 'outbound');
my %in = (direction => 'inbound');


# sends text over one connection and reads as much

sub echo {
    my ($address, $text, %opt) = @_;
    my $s = $opt{socket} // $t->connect($address, %opt);

    MeshNginx::write_all($s, $text);

    return MeshNginx::read_some($s, length $text);
}


sub refused {
    my ($address, %opt) = @_;
    my $text = eval { echo($address, 'PING', %opt) };

    return !defined $text || $text eq '';
}


# outbound, declared opaque

is(echo('10.96.14.8:6379', "PING\r\n"), "PING\r\n", 'to a plain endpoint');
is(echo('[fd00:96::8]:6379', "PING\r\n"), "PING\r\n", 'from IPv6');
is(scalar $old->noted(qr/^client/), 0, 'in plaintext');

is(echo('10.96.14.7:6379', "PING\r\n"), "PING\r\n", 'to a meshed endpoint');
like(($cart->noted())[0],
     qr{^client spiffe://cluster\.local/ns/shop/sa/web alpn mesh},
     'over mutual TLS with our identity');
is(scalar $cart->noted(qr/^plain/), 0, 'and never in plaintext');

is(echo('10.244.1.9:6379', 'pod'), 'pod', "to a pod's own address");

# both kinds in one service: whichever dies, the other one takes over, each as
# it must be

is(echo('10.96.15.1:6379', "any $_"), "any $_", "mixed service, $_")
    for 1 .. 5;

$old->stop();
my $clients = $cart->noted(qr/^client/);

is(echo('10.96.15.1:6379', "meshed $_"), "meshed $_", "the meshed one, $_")
    for 1 .. 3;
is($cart->noted(qr/^client/) - $clients, 3, 'over mutual TLS');
is(scalar $cart->noted(qr/^plain|^refused/), 0, 'and nothing else');

$old = $t->app('echo', '10.244.1.10:6379', name => 'old');
$cart->stop();

is(echo('10.96.15.1:6379', "plain $_"), "plain $_", "the plain one, $_")
    for 1 .. 3;
is(scalar $old->noted(qr/^plain/), 3, 'in plaintext');
ok(refused('10.96.14.7:6379'), 'a dead meshed service is refused');

# an endpoint may refuse us when our side of TLS 1.3 has long been done

my $wary = $t->app('echo', '10.244.1.9:6379', name => 'wary', tls => 'cart',
                   ca => 'foreign');

ok(refused('10.244.1.9:6379'), 'an endpoint that refuses us');
ok($t->wait_for('its alert', sub {
    return $t->metrics()->{mesh_tls_refused_client_total} == 1;
}), 'is counted once');
$wary->stop();

$cart = $t->app('echo', '10.244.1.9:6379', name => 'cart', tls => 'cart');

# more than fits into one buffer

my $long = join '', map { "line $_\n" } 1 .. 100000;
my $s = $t->connect('10.96.14.7:6379');
my $pid = fork;

if (!$pid) {
    MeshNginx::write_all($s, $long);
    POSIX::_exit(0);
}

ok(MeshNginx::read_some($s, length $long) eq $long,
   'a megabyte comes back as it went');
waitpid $pid, 0;

# the end of one direction is not the end of the other

$s = $t->connect('10.96.14.8:6379');
MeshNginx::write_all($s, 'last words');
shutdown $s, 1;
is(MeshNginx::read_some($s, 100), 'last words',
   'half-closed connections are');

# detection on a port that nobody declared

$s = $t->connect('10.96.14.8:90');
MeshNginx::write_all($s, "\0\1\2binary");
is(MeshNginx::read_some($s, 20), "220 first\r\n\0\1\2binary",
   'bytes of no protocol pass');

my $began = time;

$s = $t->connect('10.96.14.8:90');
is(MeshNginx::read_some($s, 11), "220 first\r\n",
   'a server that speaks first is heard');
ok(time - $began < 2, 'soon');
is(echo('', 'EHLO', socket => $s), 'EHLO', 'and answered');
ok($t->metrics()->{mesh_detect_timeout_total} >= 1, 'counted');

# the application's own TLS

$s = $t->connect('10.96.14.8:443', sni => 'old.shop.example');
is(echo('', 'secret', socket => $s), 'secret',
   "the application's own TLS passes");
is(($tls->noted())[0], 'server name old.shop.example', 'to the application');
like($s->peer_certificate('subject') // '', qr/O=app/,
     'whose certificate the client sees');
is($t->metric('tcp_open_total', %out, peer => 'dst', tls => 'opaque'), 1,
   'counted as opaque');
close $s;

# inbound

is(echo('10.244.0.5:6379', "PING\r\n", cert => 'cart', alpn => 'mesh-tcp'),
   "PING\r\n", 'from a peer of the mesh');
is(echo('10.244.0.5:6379', "PING\r\n"), "PING\r\n", 'from a plain client');

$s = $t->connect('10.244.0.5:9090');
is(MeshNginx::read_some($s, 9), "220 web\r\n",
   'a server that speaks first is heard by a plain client');

$s = $t->connect('10.244.0.5:8443', sni => 'web.example');
is(echo('', 'secret', socket => $s), 'secret',
   "TLS for the application passes into the pod");
is(($web_tls->noted())[0], 'server name web.example', 'unopened');
close $s;

# what is refused

ok(refused('10.96.15.2:6379'), 'a service without endpoints');
ok(refused('10.244.0.5:6379', alpn => 'mesh-tcp'),
   'a peer without certificate');
is(scalar $web->noted(qr/^data/), 2, 'the application saw only two of them');

# each connection is one count on each side, and its bytes are

sub settled {
    my ($name, $value, %labels) = @_;

    $t->wait_for("$name $value", sub {
        return $t->metric($name, %labels) == $value;
    });

    return $t->metric($name, %labels);
}

$s = $t->connect('10.96.14.8:6379');
is(echo('', 'long' x 250, socket => $s), 'long' x 250, 'a session that lasts');

my %plain = (%out, dst_service => 'old', target_addr => '10.244.1.10:6379',
             peer => 'dst');

ok($t->wait_for('its bytes', sub {
    return $t->metric('tcp_read_bytes_total', %plain) >= 1000
           && $t->metric('tcp_write_bytes_total', %plain) >= 1000
           && $t->metric('tcp_read_bytes_total', %out, peer => 'src',
                         target_addr => '10.96.14.8:6379') >= 1000;
}), 'shows its bytes while it does');
close $s;

my %from_cart = (%in, peer => 'src', tls => 'true',
                 client_id => 'spiffe://cluster.local/ns/shop/sa/cart');

is(settled('tcp_close_total', 1, %from_cart), 1, 'closed once');
is($t->metric('tcp_open_total', %from_cart), 1, 'opened once');
is($t->metric('tcp_open_connections', %from_cart), 0, 'not open any more');
is($t->metric('tcp_read_bytes_total', %from_cart), 6, 'bytes read');
is($t->metric('tcp_write_bytes_total', %from_cart), 6, 'bytes written');

my %long = (%out, peer => 'dst', tls => 'true', dst_service => 'cart');

is(settled('tcp_open_connections', 0, %long), 0, 'outbound ones are closed');
is($t->metric('tcp_open_total', %long), $t->metric('tcp_close_total', %long),
   'as many as were opened');
is($t->metric('tcp_read_bytes_total', %long), length($long) + 6,
   'a megabyte read from the endpoint');
is($t->metric('tcp_write_bytes_total', %long), length($long) + 6,
   'and written to it');

is($t->metric('request_total'), 0, 'no connection was taken for HTTP');

# a session does not keep the snapshot that it began with

sub large {
    my ($generation) = @_;
    my $cart = MeshNginx::spiffe('cart');
    my $endpoints = join '', map {
        " endpoint 10.245." . int($_ / 250) . '.' . ($_ % 250 + 1)
        . ":8080 identity=$cart;"
    } 0 .. 1999;

    $t->state(MeshNginx::shop(generation => $generation, extra =>
        "mesh_service shop/large:80 { address 10.96.15.3:80; $endpoints }\n"));

    $t->wait_for("generation $generation", sub {
        return $t->metric('mesh_state_generation') == $generation;
    });
}

sub private {
    my ($worker) = $t->workers();
    my $text = MeshNginx::slurp("/proc/$worker/smaps_rollup");

    return $text =~ /^Private_Dirty:\s+(\d+) kB/m ? $1 : die $text;
}

large($_) for 2 .. 4;

my $before = private();
my @lasting;

for (5 .. 24) {
    push @lasting, $t->connect($_ % 2 ? '10.96.14.7:6379' : '10.244.1.9:6379');
    is(echo('', 'begin', socket => $lasting[-1]), 'begin', "session $_");
    large($_);
}

is(echo('', 'on', socket => $_), 'on', 'goes on over a new one') for @lasting;

# 20 snapshots are 7 MB; AddressSanitizer keeps what was freed

cmp_ok(private() - $before, '<', $ENV{MESH_ASAN} ? 1 << 30 : 3000,
       'kilobytes, whatever the number of snapshots');
close $_ for @lasting;

ok($t->wait_for('access log', sub {
    my @lines = MeshNginx::slurp($t->dir() . '/run/lasting.log')
                =~ m{^shop/cart:6379 10\.244\.1\.9:6379 10\.244\.1\.9:6379 }mg;
    return @lines >= 10;
}), 'what is asked at the end is still known');

done_testing();
