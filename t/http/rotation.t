use strict;
use warnings;

# Certificate, key and bundle are replaced under a running nginx.

use MeshNginx;
use Test::More;

my $t = MeshNginx->new();

$t->new_ca('second');
$t->new_cert($_) for qw(web cart);
$t->new_cert('web2', san => [MeshNginx::spiffe('web')]);
$t->new_cert('web3', ca => 'second', san => [MeshNginx::spiffe('web')]);
$t->new_cert('cart3', ca => 'second',
             san => [MeshNginx::spiffe('cart')]);
$t->use_cert('web');
$t->state(MeshNginx::shop());

my $cart = $t->app('http', '10.244.1.9:9090', name => 'cart', tls => 'cart');
my $web = $t->app('http', '10.244.0.5:8080', name => 'web');

$t->start();


# the serial number of the certificate that 4143 shows

sub serial {
    my $s = $t->connect('10.244.0.5:8080', cert => 'cart',
                        ca => $_[0] // 'root');

    return Net::SSLeay::P_ASN1_INTEGER_get_hex(
               Net::SSLeay::X509_get_serialNumber($s->peer_certificate));
}


sub serial_of {
    my ($name) = @_;
    my $text = MeshNginx::must('openssl', 'x509', '-noout', '-serial',
                                       '-in', $t->dir . "/ca/$name.pem");

    return $text =~ /serial=0*(\S+)/ ? $1 : die $text;
}


sub loads { return $t->metrics()->{mesh_identity_loads_total} }
sub refusals { return $t->metrics()->{mesh_identity_refused_total} }

sub same {
    my ($serial) = @_;

    return sub { return serial() =~ /^0*\Q$serial\E$/ };
}

# a new pair

my $loads = loads();

is($t->get('10.96.14.7:90', '/')->{status}, 200, 'a request before');
ok(same(serial_of('web'))->(), 'the first certificate is shown');

$t->use_cert('web2');
ok($t->wait_for('the new certificate', same(serial_of('web2'))),
   'a new pair is taken without reload');
is(loads(), $loads + 1, 'and counted');

my $calls = $cart->noted(qr/^client/);

is($t->get('10.96.14.7:90', '/')->{status}, 200, 'a request after');
is(scalar $cart->noted(qr/^client/), $calls + 1,
   'goes over a connection made with the new one');

# pairs that do not fit

my $refusals = refusals();
my $log = length $t->error_log();

for (['web', key => 'web2'], ['cart'], ['web3']) {
    my ($name, %opt) = @$_;

    $t->use_cert($name, %opt);
    ok($t->wait_for('a refusal', sub { refusals() > $refusals }),
       "a pair that does not fit is refused: $name @{[%opt]}");
    $refusals = refusals();
    ok(same(serial_of('web2'))->(), 'the old one stays');
}

my @lines = substr($t->error_log(), $log) =~ /^.*mesh identity.*refused.*$/mg;

is(scalar @lines, 3, 'with one line in the log each') or diag("@lines");
is($t->get('10.96.14.7:90', '/')->{status}, 200, 'requests go on');

# what was wrong is put right by the next good one

$t->use_cert('web', trust => ['root', 'second']);
ok($t->wait_for('the certificate', same(serial_of('web'))),
   'the next good pair is taken');

# a bundle with both CAs, then only the new one

is($t->get('10.244.0.5:8080', '/both', cert => 'cart3')->{status}, 200,
   'the bundle takes peers of both CAs');

my $kept = $t->connect('10.244.0.5:8080', cert => 'cart');

is($t->get('', '/kept', socket => $kept)->{status}, 200,
   'a connection is kept');

$t->new_cert('cart4', ca => 'root', san => [MeshNginx::spiffe('cart')]);
$t->use_cert('web3', trust => ['second']);

ok($t->wait_for('the new CA', sub { eval { serial('second'); 1 } }),
   'the next bundle has only the new CA');

my $answer = eval { $t->get('', '/kept2', socket => $kept) };

ok(!$answer || $answer->{status} == 403,
   'the kept connection is closed, or its request refused');
is(scalar $web->noted(qr{/kept2}), 0, 'before the application sees it');

my $refused = !eval { $t->get('10.244.0.5:8080', '/old', cert => 'cart') };

ok($refused, 'a peer of the old CA is refused');
is($t->get('10.96.14.7:90', '/')->{status}, 502,
   'an endpoint of the old CA, too');

# a connection outlives its peer's certificate

$t->use_cert('web');
ok($t->wait_for('the first CA', sub { eval { serial(); 1 } }),
   'back to the first CA');

$t->new_cert('short', san => [MeshNginx::spiffe('cart')],
             end => MeshNginx::stamp(time + 4));
$kept = $t->connect('10.244.0.5:8080', cert => 'short');
is($t->get('', '/short', socket => $kept)->{status}, 200,
   'a certificate that ends soon does');

my $expired = $t->wait_for('its end', sub {
    $answer = eval { $t->get('', '/expired', socket => $kept) };
    return !$answer || $answer->{status} == 403;
});

ok($expired, 'and does not any more, on the same connection');
like($answer->{headers}{'mesh-error'}, qr/^peer-expired; /, 'as is told')
    if $answer;
is($t->metrics()->{mesh_peer_expired_total} >= 1, 1, 'and counted');

done_testing();
