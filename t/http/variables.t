use strict;
use warnings;

# The variables of http and stream, as an access log writes them.

use MeshNginx;
use Test::More;

my $t = MeshNginx->new();
my $log = $t->dir . '/run/access.log';
my @names = qw(mesh_direction mesh_dst_addr mesh_service mesh_endpoint
               mesh_tls mesh_client_id mesh_server_id mesh_reason);
my $format = 'log_format mesh "' . join(' ', map { "\$$_" } @names) . '";';

$t->new_cert($_) for qw(web cart);
$t->use_cert('web');
$t->state(MeshNginx::shop());

my @apps = ($t->app('http', '10.244.1.9:9090', name => 'cart', tls => 'cart'),
            $t->app('http', '10.244.1.10:9090', name => 'old'),
            $t->app('http', '10.244.0.5:8080', name => 'web'),
            $t->app('echo', '10.244.1.9:6379', name => 'cart', tls => 'cart'),
            $t->app('echo', '10.244.0.5:6379', name => 'web'),
            $t->app('http', '203.0.113.7:80', name => 'far'));

$t->start(http => $format, stream => $format, edit => sub {
    s/^(\s+mesh_direction [^;]*;)/$1 access_log $log mesh;/mg;
});


# the line that the log has for what was done

sub logged {
    my ($what, $expected, $do) = @_;
    my $before = -e $log ? length MeshNginx::slurp($log) : 0;

    $do->();
    $t->wait_for("a line for $what", sub {
        return length MeshNginx::slurp($log) > $before;
    });

    is(substr(MeshNginx::slurp($log), $before), "$expected\n", $what);
}


sub echo {
    my $s = $t->connect(@_);

    MeshNginx::write_all($s, 'ping');
    MeshNginx::read_some($s, 4);
}


my $web = 'spiffe://cluster.local/ns/shop/sa/web';
my $cart = 'spiffe://cluster.local/ns/shop/sa/cart';

logged('a request to a meshed service',
       "outbound 10.96.14.7:90 shop/cart:90 10.244.1.9:9090 true $web $cart -",
       sub { $t->get('10.96.14.7:90', '/') });

logged('a request to a plain one',
       'outbound 10.96.14.8:90 shop/old:90 10.244.1.10:9090 no_identity - - -',
       sub { $t->get('10.96.14.8:90', '/') });

logged('a request out of the cluster',
       'outbound 203.0.113.7:80 - 203.0.113.7:80 unknown - - -',
       sub { $t->get('203.0.113.7:80', '/') });

logged('a request that the mesh refuses',
       'outbound 10.96.14.9:80 shop/empty:80 - - - - no-endpoints',
       sub { $t->get('10.96.14.9:80', '/') });

logged('a request from a peer',
       "inbound 10.244.0.5:8080 - 10.244.0.5:8080 true $cart $web -",
       sub { $t->get('10.244.0.5:8080', '/', cert => 'cart') });

logged('a request from anyone',
       'inbound 10.244.0.5:8080 - 10.244.0.5:8080 no_identity - - -',
       sub { $t->get('10.244.0.5:8080', '/') });

logged('a session to a meshed service',
       "outbound 10.96.14.7:6379 shop/cart:6379 10.244.1.9:6379 true"
       . " $web $cart -",
       sub { echo('10.96.14.7:6379') });

logged('a session from a peer',
       "inbound 10.244.0.5:6379 - 10.244.0.5:6379 true $cart $web -",
       sub { echo('10.244.0.5:6379', cert => 'cart', alpn => 'mesh-tcp') });

done_testing();
