use strict;
use warnings;

# HTTP/1 from the application: where it goes, how, and what is refused.

use MeshNginx;
use Test::More;

my $t = MeshNginx->new();

$t->new_cert($_) for qw(web cart);
$t->use_cert('web');
$t->state(MeshNginx::shop());

my $cart = $t->app('http', '10.244.1.9:8080', name => 'cart', tls => 'cart');
my $cart6 = $t->app('http', '[fd00:244:1::9]:8080', name => 'cart6',
                    tls => 'cart');
my $old = $t->app('http', '10.244.1.10:8080', name => 'old');
my $old6 = $t->app('http', '[fd00:244:1::10]:8080', name => 'old6');
my $web = $t->app('http', '127.0.0.1:8000', name => 'web');
my $far = $t->app('http', '203.0.113.7:80', name => 'far');

$t->start(main => 'mesh_agent unix:/run/nobody-listens.sock;');

# meshed and plain endpoints, v4 and v6

my $r = $t->get('10.96.14.7:80', '/a//b/../c?d=%2f');

is($r->{status}, 200, 'a meshed service answers');
like($r->{body}, qr{^cart6? GET /a//b/\.\./c\?d=%2f$}m, 'the URI is as sent');
is($r->{headers}{server}, 'app', 'so is the header Server');
is($r->{headers}{'mesh-error'}, undef, 'no mesh-error');

my ($client) = grep { /^client/ } $cart->noted, $cart6->noted;

like($client, qr{^client spiffe://cluster\.local/ns/shop/sa/web alpn },
     'over mutual TLS, with our identity');
is(scalar(grep { /^plain|^refused/ } $cart->noted, $cart6->noted), 0,
   'and never in plaintext');

like($t->get('[fd00:96::7]:80', '/v6')->{body}, qr/^cart6? GET/,
     'over IPv6 too');
like($t->get('10.96.14.8:80', '/')->{body}, qr/^old6? GET/,
     'a service without sidecars answers');
is(scalar(grep { /^client/ } $old->noted, $old6->noted), 0, 'in plaintext');

# a pod's own address

is($t->get('10.244.1.9:8080', '/pod')->{body}, "cart GET /pod\n",
   'a pod is reached by its address');
is(scalar $cart->noted(qr/^plain/), 0, 'over mutual TLS');
is($t->get('10.244.1.10:8080', '/pod')->{body}, "old GET /pod\n",
   'so is one without a sidecar');

# outside of the cluster

is($t->get('203.0.113.7:80', '/far')->{body}, "far GET /far\n",
   'an address outside of the cluster passes');

# the request in pieces

my $s = $t->connect('10.96.14.8:80');

for my $piece ('G', 'ET', ' /piec', 'es HTTP/1.1', "\r\nHost: x\r", "\n\r\n") {
    MeshNginx::write_all($s, $piece);
    select undef, undef, undef, 0.01;
}

like(MeshNginx::read_response($s)->{body}, qr{GET /pieces},
     'a request line in pieces is HTTP');

# keep-alive, bodies, HEAD

$s = $t->connect('10.96.14.8:80');

for my $n (1 .. 3) {
    like($t->get('', "/$n", socket => $s, method => 'POST',
                 body => "body$n")->{body}, qr{POST /$n\nbody$n$},
         "request $n on one connection");
}

is($t->get('', '/head', socket => $s, method => 'HEAD')->{status}, 200,
   'HEAD on the same');
like($t->get('', '/chunked', socket => $s)->{body}, qr{GET /chunked},
     'chunked response on the same');
is($t->get('', '/status/418', socket => $s)->{status}, 418,
   "the application's status passes");

# answers of the mesh

$r = $t->get('10.96.14.9:80', '/');
is($r->{status}, 503, 'no endpoint is 503');
is($r->{headers}{'mesh-error'},
   'no-endpoints; the service has no ready endpoint', 'and says so');

$old->stop();
is($t->get('10.96.14.8:80', "/retry/$_")->{status}, 200,
   "a dead endpoint is passed over, $_") for 1 .. 4;

$old6->stop();
$r = $t->get('10.96.14.8:80', '/dead');
is($r->{status}, 502, 'no live endpoint is 502');
like($r->{headers}{'mesh-error'}, qr/^connect-failed; /, 'and says so');

# refused

sub refused {
    my ($address) = @_;

    return !eval { $t->get($address, '/'); 1 };
}

ok(refused('10.96.14.99:80'), "nobody's address is refused");
ok(refused('10.9.9.9:80'), 'an address that the state does not have, too');
ok(refused('127.0.0.1:4140'), 'a connection straight to 4140 is refused');
ok(refused('[::1]:4140'), 'over IPv6 too');
ok(refused('127.0.0.1:4143'), 'and straight to 4143');

my $metrics = $t->metrics();

is($metrics->{mesh_connections_refused_direct_total}, 3, 'all are counted');
is($metrics->{mesh_connections_refused_unknown_total}, 2, 'by their reason');

# the probe of the redirect

for (['4140', "outbound\n"], ['4143', "inbound\n"]) {
    my ($port, $word) = @$_;
    my $probe = $t->connect("192.0.2.1:$port");

    is(MeshNginx::read_some($probe, 100), $word,
       "the probe of $port reads its word");
}

done_testing();
