use strict;
use warnings;

# What "nginx -t" says to each directive that is wrong.

use MeshNginx;
use Test::More;

my $t = MeshNginx->new();

$t->new_cert('web');
$t->use_cert('web');
$t->state(MeshNginx::shop());

my ($rc, $said) = $t->check_conf();

is($rc, 0, 'conf/mesh.conf is in order');
like($said, qr/test is successful/, 'and nginx says so');
unlike($said, qr/\[(?:warn|error|crit|alert|emerg)\]/, 'without a remark');


sub refuses {
    my ($what, $pattern, %opt) = @_;
    my ($rc, $said) = $t->check_conf(%opt);

    ok($rc != 0, "$what is refused");
    like($said, $pattern, 'and told why');
}


# line NAME VALUE: the directive's line with another value

sub with {
    my ($directive, $value) = @_;

    return (edit => sub {
        s/^(\s*)$directive\s[^;]*;/$1$directive $value;/m
            or die "no $directive";
    });
}


sub without {
    my ($directive) = @_;

    return (edit => sub { s/^\s*$directive\s[^;]*;//m or die });
}


refuses('a direction that is none', qr/invalid direction "sideways"/,
        with('mesh_listen', '127.0.0.1:4140 sideways'));
refuses('mesh_listen without a direction',
        qr/invalid number of arguments in "mesh_listen"/,
        with('mesh_listen', '127.0.0.1:4140'));
refuses('mesh_listen on a path', qr/takes addresses with ports only/,
        with('mesh_listen', 'unix:/tmp/x outbound'));
refuses('mesh_listen on a port of http', qr/duplicate/,
        main => 'mesh_listen 127.0.0.1:4140 inbound;');
refuses('a missing virtual listener', qr/65003/,
        edit => sub { s/^\s*listen\s+127\.0\.0\.1:65003;//m or die });
refuses('a missing virtual listener of IPv6', qr/65011/,
        edit => sub { s/^\s*listen\s+\[::1\]:65011;//m or die });

refuses('mesh_detect without "timeout="', qr/invalid parameter "300ms"/,
        main => 'mesh_detect 300ms;');
refuses('a timeout that is none', qr/invalid timeout "soon"/,
        main => 'mesh_detect timeout=soon;');
refuses('two timeouts', qr/"mesh_detect" directive is duplicate/,
        main => "mesh_detect timeout=1s;\nmesh_detect timeout=2s;");

refuses('a zone without size', qr/invalid zone "mesh", expected "name:size"/,
        with('mesh_zone', 'mesh'));
refuses('a zone without name', qr/expected "name:size"/,
        with('mesh_zone', ':4m'));
refuses('a size that is none', qr/invalid zone size "mesh:big"/,
        with('mesh_zone', 'mesh:big'));
refuses('a zone that is too small', qr/zone "mesh:60k" is too small/,
        with('mesh_zone', 'mesh:60k'));
refuses('two zones', qr/"mesh_zone" directive is duplicate/,
        main => 'mesh_zone other:4m;');

refuses('an agent that is no socket', qr/invalid socket "127\.0\.0\.1:1"/,
        main => 'mesh_agent 127.0.0.1:1;');
refuses('two states', qr/"mesh_state" directive is duplicate/,
        main => 'mesh_state /tmp/state;');

refuses('an identity of another scheme', qr/identity "https:\/\/a\/b" /,
        with('mesh_identity', 'https://a/b'));
refuses('two identities', qr/"mesh_identity" directive is duplicate/,
        main => 'mesh_identity spiffe://a/b;');
refuses('two certificates', qr/"mesh_certificate" directive is duplicate/,
        main => 'mesh_certificate a b;');
refuses('two bundles', qr/"mesh_trust" directive is duplicate/,
        main => 'mesh_trust a;');
refuses('mesh_tls without mesh_certificate',
        qr/needs "mesh_certificate" before it/, without('mesh_certificate'));

refuses('mesh_direction in an upstream', qr/is not allowed here/,
        edit => sub { s/mesh_balancer;/mesh_direction outbound;/ or die });
refuses('a direction of a server that is none', qr/invalid value "up"/,
        with('mesh_direction', 'up'));
refuses('mesh_tls that is not mutual', qr/it must be "mtls"/,
        with('mesh_tls', 'tls'));
refuses('two balancers of an upstream', qr/mesh_balancer/,
        edit => sub { s/mesh_balancer;/mesh_balancer; mesh_balancer;/ or die });
refuses('mesh_metrics behind proxy_pass',
        qr/"mesh_metrics" directive is duplicate or follows another handler/,
        edit => sub {
            s/mesh_metrics;/proxy_pass http:\/\/mesh; mesh_metrics;/ or die
        });
refuses('mesh_metrics in a server', qr/is not allowed here/,
        edit => sub { s/mesh_direction  outbound;/mesh_metrics;/ or die });

# what is not there at start

($rc) = $t->check_conf(with('mesh_state', '/nowhere/state'));
is($rc, 0, 'a state that is not there yet is in order');

($rc) = $t->check_conf(without('mesh_zone'));
is($rc, 0, 'so is a sidecar without a zone');

done_testing();
