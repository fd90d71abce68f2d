use strict;
use warnings;

# Certificates that must not do, on either side: no byte of a request may
# reach the application, none may leave in plaintext.

use MeshNginx;
use Test::More;

my $t = MeshNginx->new();

$t->new_ca('foreign');
$t->new_cert($_) for qw(web cart other);
$t->new_cert('alien', ca => 'foreign',
             san => [MeshNginx::spiffe('cart')]);
$t->new_cert('expired', san => [MeshNginx::spiffe('cart')],
             start => MeshNginx::stamp(time - 7200),
             end => MeshNginx::stamp(time - 3600));
$t->new_cert('early', san => [MeshNginx::spiffe('cart')],
             start => MeshNginx::stamp(time + 3600),
             end => MeshNginx::stamp(time + 7200));
$t->new_cert('abroad', san => ['spiffe://other.org/ns/shop/sa/cart']);
$t->new_cert('two', san => [MeshNginx::spiffe('cart'),
                            MeshNginx::spiffe('admin')]);
$t->new_cert('nameless', san => []);
$t->new_cert('odd', san => ['spiffe://cluster.local/ns/shop//cart']);

my @bad = qw(alien expired early abroad two nameless odd);

# each bad endpoint is a service of its own

my %port;
my $n = 0;
my $extra = '';

for (@bad, 'other') {
    $port{$_} = 100 + ++$n;
    $extra .= "mesh_service shop/$_:80 { address 10.96.20.$n:80;"
            . " protocol http1; endpoint 10.244.1.11:$port{$_} identity="
            . MeshNginx::spiffe('cart') . "; }\n";
}

$t->use_cert('web');
$t->state(MeshNginx::shop(extra => $extra));

my $web = $t->app('http', '10.244.0.5:8080', name => 'web');
my %app = map { $_ => $t->app('http', "10.244.1.11:$port{$_}", name => $_,
                              tls => $_) } @bad, 'other';
my $plain = $t->app('http', '10.244.1.9:8080', name => 'plain');

$t->start();

# who may call us

my $r = eval { $t->get('10.244.0.5:8080', '/', cert => 'cart') };

is($r && $r->{status}, 200, 'a peer of the mesh may call');

for my $cert (@bad) {
    my $answer = eval { $t->get('10.244.0.5:8080', "/$cert", cert => $cert) };

    ok(!$answer || $answer->{status} == 403, "a client is refused: $cert");
}

my $answer = eval { $t->get('10.244.0.5:8080', '/none', alpn => 'http/1.1') };

ok(!$answer, 'a client without a certificate is refused');
is(scalar $web->noted(qr{^GET /.}), 0, 'the application saw none of them');
is($t->metrics()->{mesh_tls_refused_server_total}, @bad + 1,
   'each is counted');
is($t->metric('tcp_open_total', direction => 'inbound', peer => 'src'), 1,
   'none of them as a connection');

# whom we may call

for my $cert (@bad, 'other') {
    my ($i) = grep { (@bad, 'other')[$_] eq $cert } 0 .. @bad;
    my $vip = '10.96.20.' . ($i + 1) . ':80';

    $r = $t->get($vip, "/$cert");

    is($r->{status}, 502, "an endpoint is refused: $cert");
    like($r->{headers}{'mesh-error'}, qr/^tls-refused; /, 'and told why');
    is(scalar $app{$cert}->noted(qr{^GET}), 0, 'no byte of a request left');
}

is($t->metrics()->{mesh_tls_refused_client_total}, @bad + 1,
   'each is counted');

# an endpoint that speaks no TLS at all

$r = $t->get('10.244.1.9:8080', '/plain');
like($r->{status}, qr/^50[24]$/, 'a meshed endpoint without TLS is refused');
is(scalar $plain->noted(qr{^GET}), 0, 'and gets no plaintext');

like($t->error_log(), qr/identity/, 'the log says which check failed');

done_testing();
