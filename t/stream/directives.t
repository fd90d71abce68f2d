use strict;
use warnings;

# What "nginx -t" says to the directives in stream that are wrong.

use MeshNginx;
use Test::More;

my $t = MeshNginx->new();

$t->new_cert('web');
$t->use_cert('web');
$t->state(MeshNginx::shop());


sub refuses {
    my ($what, $pattern, $server) = @_;
    my ($rc, $said) = $t->check_conf(
        stream => "server { listen 127.0.0.1:1; $server }");

    ok($rc != 0, "$what is refused");
    like($said, $pattern, 'and told why');
}


my $identity = 'identity=spiffe://cluster.local/ns/ngx-mesh/sa/mesh-redis';
my $endpoint = 'endpoint=10.96.0.5:6379';
my $proxy = 'proxy_ssl on; proxy_pass mesh;';

my ($rc, $said) = $t->check_conf(
    stream => "server { listen unix:" . $t->dir . "/run/redis.sock;"
            . " mesh_tls mtls $identity $endpoint; $proxy }");

is($rc, 0, 'a server of its own is in order') or diag($said);

refuses('a direction that is none', qr/invalid value "up"/,
        'mesh_direction up; return x;');
refuses('two directions', qr/"mesh_direction" directive is duplicate/,
        'mesh_direction inbound; mesh_direction inbound; return x;');
refuses('mesh_tls that is not mutual', qr/it must be "mtls"/,
        "mesh_tls tls; $proxy");
refuses('two mesh_tls', qr/"mesh_tls" directive is duplicate/,
        "mesh_tls mtls; mesh_tls mtls; $proxy");
refuses('a parameter that is none', qr/invalid parameter "host=a"/,
        "mesh_tls mtls $identity host=a; $proxy");
refuses('an identity without an endpoint', qr/invalid number of arguments/,
        "mesh_tls mtls $identity; $proxy");
refuses('an endpoint without an identity', qr/invalid number of arguments/,
        "mesh_tls mtls $endpoint; $proxy");
refuses('an identity of another scheme', qr/identity "dns:a" /,
        "mesh_tls mtls identity=dns:a $endpoint; $proxy");
refuses('an endpoint without a port', qr/endpoint "10\.96\.0\.5"/,
        "mesh_tls mtls $identity endpoint=10.96.0.5; $proxy");

done_testing();
