use strict;
use warnings;

# One request is one count, whatever ends it; reload and dead workers.

use MeshNginx;
use Test::More;
use Time::HiRes qw(sleep);

my $t = MeshNginx->new();

$t->new_cert($_) for qw(web cart);
$t->use_cert('web');
$t->state(MeshNginx::shop(generation => 7));

my $cart = $t->app('http', '10.244.1.9:9090', name => 'cart', tls => 'cart');
my $old = $t->app('http', '10.244.1.10:9090', name => 'old');
my $web = $t->app('http', '10.244.0.5:8080', name => 'web');

$t->start(workers => 2);

my %out = (direction => 'outbound');
my %in = (direction => 'inbound');


# how many requests and responses the metrics have now; a response is counted
# a moment after its last byte

sub counts {
    my (%labels) = @_;

    return ($t->metric('request_total', %labels),
            $t->metric('response_total', %labels));
}


sub counted {
    my ($what, $n, %labels) = @_;

    $t->wait_for($what, sub {
        return $t->metric('response_total', %labels) >= $n;
    });

    my ($requests, $responses) = counts();

    is($t->metric('response_total', %labels), $n, "$what: $n");
    is($responses, $requests, 'as many responses as requests');
}


is(join(',', counts()), '0,0', 'nothing is counted at start');

# answers of applications

$t->get('10.96.14.8:90', '/') for 1 .. 3;
counted('success', 3, %out, status_code => 200, classification => 'success',
        dst_service => 'old', tls => 'no_identity', dst_deployment => 'old');

$t->get('10.96.14.7:90', '/') for 1 .. 2;
counted('mutual TLS', 2, %out, dst_service => 'cart', tls => 'true',
        server_id => 'spiffe://cluster.local/ns/shop/sa/cart',
        authority => 'cart.shop.svc.cluster.local:90');

$t->get('10.96.14.8:90', '/status/404');
counted('404', 1, %out, status_code => 404, classification => 'success');

$t->get('10.96.14.8:90', '/status/500');
counted('500', 1, %out, status_code => 500, classification => 'failure');

my $s = $t->connect('10.96.14.8:90');

$t->get('', "/$_", socket => $s) for 1 .. 5;
$t->get('', '/chunked', socket => $s);
$t->get('', '/', socket => $s, method => 'HEAD');
counted('keep-alive', 10, %out, status_code => 200, dst_service => 'old');

# answers of the mesh

$t->get('10.96.14.9:80', '/') for 1 .. 2;
counted('no endpoint', 2, %out, status_code => 503, dst_service => 'empty',
        classification => 'failure');

$t->get('10.96.14.8:80', '/');
counted('nobody listens', 1, %out, status_code => 502,
        authority => 'old.shop.svc.cluster.local:80');

# broken ones

eval { $t->get('10.96.14.8:90', '/drop') };
counted('dropped by the application', 1, %out, status_code => 502,
        authority => 'old.shop.svc.cluster.local:90');

eval { $t->get('10.96.14.8:90', '/broken') };
counted('broken off by the application', 1, %out, status_code => 200,
        classification => 'failure');

$s = $t->connect('10.96.14.8:90');
MeshNginx::write_all($s, "GET /slow HTTP/1.1\r\nHost: x\r\n\r\n");
$t->wait_for('the application has the request',
             sub { $old->noted(qr{GET /slow}) });
close $s;
counted('aborted by the client', 1, %out, status_code => 499,
        classification => 'failure');

$s = $t->connect('10.96.14.8:90');
MeshNginx::write_all($s, "GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n");
is(MeshNginx::read_response($s)->{status}, 400, 'a bad request');
counted('bad request', 1, %out, status_code => 400);

# inbound

$t->get('10.244.0.5:8080', '/', cert => 'cart') for 1 .. 4;
counted('inbound, mutual TLS', 4, %in, tls => 'true', status_code => 200,
        client_id => 'spiffe://cluster.local/ns/shop/sa/cart',
        target_addr => '10.244.0.5:8080');

$t->get('10.244.0.5:8080', '/');
counted('inbound, plaintext', 1, %in, tls => 'no_identity');

is($t->metric('tcp_open_total', %in, peer => 'src', tls => 'true',
              client_id => 'spiffe://cluster.local/ns/shop/sa/cart'), 4,
   'each connection is counted with who made it');

# latency

my $m = $t->metrics();
my ($count) = map { $m->{$_} } grep { /^response_latency_ms_count.*"404"/ }
              keys %$m;
my ($inf) = map { $m->{$_} } grep { /^response_latency_ms_bucket.*"404".*Inf/ }
            keys %$m;

is("$count $inf", '1 1', 'the histogram has what response_total has');

# bytes, of pooled connections too

my %cart = (%out, peer => 'dst', dst_service => 'cart');
my $request = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
my $response = "HTTP/1.1 200 OK\r\nServer: app\r\nContent-Length: 11\r\n\r\n"
             . "cart GET /\n";

is($t->metric('tcp_write_bytes_total', %cart), 2 * length $request,
   'bytes to an endpoint');
is($t->metric('tcp_read_bytes_total', %cart), 2 * length $response,
   'bytes from an endpoint');

# in flight, and connections

$s = $t->connect('10.96.14.8:90');

MeshNginx::write_all($s, "GET /slow HTTP/1.1\r\nHost: x\r\n\r\n");
$t->wait_for('the application has the request',
             sub { $old->noted(qr{GET /slow}) > 1 });

is($t->metric('tcp_open_connections', %out, peer => 'src'), 1,
   'an open connection is shown');

# reload

my $requests = $t->metric('request_total');

my @old_workers = $t->workers();

kill 'HUP', $t->{pid};
$t->wait_for('new workers beside the old one', sub {
    my %old = map { $_ => 1 } @old_workers;

    return 2 == grep { !$old{$_} } $t->workers();
});

is($t->metric('request_total'), $requests, 'a reload keeps the counters');
is($t->metric('tcp_open_connections', %out, peer => 'src'), 1,
   "and the old workers' connections");

MeshNginx::spew($t->dir . '/go', '');
is(MeshNginx::read_response($s)->{status}, 200,
   'the old worker goes on');
close $s;

$t->wait_for('old workers are gone', sub { $t->workers() == 2 });
$t->get('10.96.14.8:90', '/');
$t->wait_for('both are counted',
             sub { $t->metric('response_total') >= $requests + 2 });

is($t->metric('request_total'), $requests + 2,
   'both workers count into the same');
is($t->metric('tcp_open_connections', %out, peer => 'src'), 0,
   'what was closed is not open');

# a worker that is killed loses what it had in flight, and no more

unlink $t->dir . '/go';
$s = $t->connect('10.96.14.8:90');
MeshNginx::write_all($s, "GET /slow HTTP/1.1\r\nHost: x\r\n\r\n");
$t->wait_for('the application has the request',
             sub { $old->noted(qr{GET /slow}) > 2 });

$requests = $t->metric('request_total');
my @workers = $t->workers();

kill 'KILL', @workers;

$t->wait_for('new workers', sub {
    my @now = $t->workers();
    return @now == 2 && !grep { $_ == $workers[0] || $_ == $workers[1] } @now;
});

is($t->metric('request_total'), $requests, 'dead workers keep their counts');
is($t->metric('tcp_open_connections'), 0, 'but not their connections');
is($t->metrics()->{mesh_pool_idle}, 0, 'nor their pools');

# the consumer's own check

SKIP: {
    skip 'promtool is not installed', 1
        if system('promtool --version >/dev/null 2>&1');

    MeshNginx::spew($t->dir . '/metrics',
                            $t->get('127.0.0.1:4191', '/metrics')->{body});

    my ($rc, $said) = MeshNginx::run_command('sh', '-c',
                      'promtool check metrics < ' . $t->dir . '/metrics');

    is($said, "response_latency_ms metric names should not contain "
              . "abbreviated units\n",
       "promtool remarks on nothing but Linkerd's name");
}

is($t->get('127.0.0.1:4191', '/metrics')->{headers}{'content-type'},
   'text/plain; version=0.0.4; charset=utf-8', 'the content type');
is($t->get('127.0.0.1:4191', '/metrics', method => 'HEAD')->{status}, 200,
   'HEAD is answered');
is($t->get('127.0.0.1:4191', '/metrics', method => 'POST',
           body => 'x')->{status}, 405, 'POST is not');

done_testing();
