use strict;
use warnings;

# HTTP/2 that is not gRPC, and frames that nginx's own client of HTTP/2 would
# fail on: through one sidecar to an application, and through two.

use MeshNginx;
use IPC::Open2;
use JSON::PP;
use Test::More;

my $t = MeshNginx->new();
my $peer = $t->peer();
my $root = $ENV{MESH_ROOT} // '.';

$t->new_cert($_) for qw(web cart);
$t->use_cert('web');
$peer->use_cert('cart');

my $extra = 'mesh_service shop/many:80 { address 10.96.21.1:80; protocol'
          . ' http2; endpoint 10.244.1.9:7070 workload=shop/cart-1; }';

$t->state(MeshNginx::shop(extra => $extra));
$peer->state(MeshNginx::shop(self => 'cart'));

mkdir $t->dir . '/www';
MeshNginx::spew($t->dir . '/www/index.html', 'x' x 1000);

my %app = (plain => $t->app('h2', '10.244.1.10:9090'),
           meshed => $t->app('h2', '10.244.1.9:9090'),
           inbound => $t->app('h2', '10.244.0.5:8080'),
           many => $t->app('nghttpd', '10.244.1.9:7070'));
my %address = (plain => '10.96.14.8:90', meshed => '10.96.14.7:90',
               inbound => '10.244.0.5:8080');

$peer->start(cert => 'cart');
$t->start();

open2(my $from_caller, my $to_caller, '/usr/bin/python3',
      "$root/t/lib/mesh_h2.py", 'talk');


# what mesh_h2.py tells of one request; to is a key of %address or an address

sub call {
    my ($to, $method, $path, @words) = @_;

    print $to_caller join(' ', $address{$to} // $to, $method, $path, @words),
                     "\n";

    return decode_json(scalar <$from_caller>);
}


sub field {
    my ($r, $name) = @_;

    return join ', ', map { $_->[1] } grep { $_->[0] eq $name }
                      @{$r->{headers}};
}


for my $way (qw(plain meshed inbound)) {
    my $app = $app{$way};
    my $r = call($way, 'GET', '/echo//a/../b%2f?c=%20', 'x-a=1', 'x_b=2',
                 'te=trailers', 'cookie=a=b', 'cookie=c=d');

    is($r->{status}, 200, "$way: GET") or diag explain $r;
    ok($app->noted(qr{^GET /echo//a/\.\./b%2f\?c=%20 }), 'its path as it is');
    is(join(' ', sort grep { /^header [a-z:x]/ }
                 $app->noted(qr/^header /)),
       join(' ', map { "header $_" } ":authority: $address{$way}",
            ':method: GET', ':path: /echo//a/../b%2f?c=%20',
            ':scheme: http', 'cookie: a=b; c=d', 'te: trailers', 'x-a: 1',
            'x_b: 2'),
       'all of its fields and no other');

    is_deeply([map { $_->[0] } @{$r->{headers}}], ['x-conn'],
              'and the response has none that was not sent');

    # fields as they were sent

    $r = call($way, 'GET', '/fields');
    is(join(' ', map { $_->[0] } @{$r->{headers}}),
       'x-conn server x-a x-a set-cookie set-cookie x_under.score'
       . ' x-accel-redirect', 'fields of a response');
    is(field($r, $_->[0]), $_->[1], $_->[0])
        for ['server', 'app'], ['x-a', '1, 2'], ['set-cookie', 'a=b, c=d'],
            ['x_under.score', ''], ['x-accel-redirect', '/elsewhere'];
    is($r->{body}, 'fields', 'and its body');

    # ends

    for my $status (200, 204, 304, 404, 599) {
        $r = call($way, 'GET', "/status/$status");
        is("$r->{status} @{$r->{headers}}", "$status ", "$status alone");
    }

    $r = call($way, 'HEAD', '/echo');
    is("$r->{status} $r->{body}", '200 ', 'HEAD');

    $r = call($way, 'GET', '/trailers');
    is($r->{body} . join('', map { "@$_" } @{$r->{trailers}}),
       'bodyx-trailer 1x-trailer 2', 'trailers');

    $r = call($way, 'GET', '/padded');
    is($r->{body}, 'padded', 'padding');

    for my $size (0, 1, 10_000, 3_000_000) {
        $r = call($way, 'POST', '/echo', "body=$size");
        is($r->{body} =~ /^\d+$/ && $size > 1000 ? $r->{body}
                                                 : length $r->{body},
           $size, "a body of $size bytes and back");
    }

    # frames that nginx does not expect

    $r = call($way, 'GET', '/interim');
    is("$r->{status} $r->{body}", '200 final', 'interim responses');

    $r = call($way, 'GET', '/extensions');
    is("$r->{status} $r->{body}", '200 extended', 'extensions');

    # the application's end of one stream comes with the next one

    $r = call($way, 'GET', '/late');

    my $conn = field($r, 'x-conn');

    $r = call($way, 'GET', '/echo');
    is("$r->{status} " . field($r, 'x-conn'), "200 $conn",
       'frames of a stream that has ended');

    # an idle connection

    $r = call($way, 'GET', '/ping');
    $conn = field($r, 'x-conn');
    ok($t->wait_for('ping', sub { $app->noted(qr/^pong between!/) }),
       'a ping on an idle connection is answered');

    my $settings = () = $app->noted(qr/^settings acknowledged $conn$/);

    $r = call($way, 'GET', '/echo');
    is("$r->{status} " . field($r, 'x-conn'), "200 $conn",
       'the connection is used again');
    ok($t->wait_for('settings', sub {
        return $settings < (() = $app->noted(qr/^settings ack.* $conn$/));
    }), 'and new settings are acknowledged');

    # going away

    $r = call($way, 'GET', '/goaway-after');
    $conn = field($r, 'x-conn');
    is("$r->{status} $r->{body}", '200 last', 'the last of a connection');
    $r = call($way, 'GET', '/echo');
    is($r->{status}, 200, 'is followed by one of another');
    isnt(field($r, 'x-conn'), $conn, 'indeed');

    # the client does not wait

    call($way, 'GET', '/slow', 'cancel');
    ok($t->wait_for('end', sub { $app->noted(qr/^end|^reset 8/) }),
       'the application hears of a request that is broken off');
}

# what differs: ../../ngx_mesh_module/TRANSPARENCY.md

my $app = $app{plain};


# what the application was told of that field by the last request

sub told {
    my ($name) = @_;
    my @lines = $app->noted(qr/^(?:header |[A-Z]+ \/)/);
    my @last;

    for (reverse @lines) {
        last if !/^header /;
        unshift @last, /^header \Q$name\E: (.*)/ ? $1 : ();
    }

    return "@last";
}


call('plain', 'GET', '/echo', ':scheme=https');
is(told(':scheme'), 'http', 'the scheme');

call('plain', 'GET', '/echo', ':authority=', 'host=h.x');
is(told(':authority'), 'h.x', 'Host instead of an authority');
is(told('host'), '', 'and not beside it');
is(call('plain', 'GET', '/echo', ':authority=')->{status}, 400, 'neither');
is(call('plain', 'GET', '/echo', ':authority=a.x', 'host=b.x')->{status},
   400, 'both');

call('plain', 'GET', '/echo', 'connection=close', 'te=gzip');
is(told('connection') . told('te'), '', 'fields of a connection');

call('plain', 'POST', '/echo', 'expect=100-continue', 'body=1');
is(told('expect'), '100-continue', 'expect');

call('plain', 'GET', '/echo', 'long=60000');
is(length told('x-long'), 60_000, 'a field of 60000 bytes');

is(call('plain', 'POST', '/echo', 'trailers')->{goaway}, 1,
   'trailers of a request');

for (['CONNECT', '/', 405], ['TRACE', '/', 405], ['OPTIONS', '*', 400],
     ['get', '/', 400], ['GET', '/../x', 400], ['GET', '/%zz', 400])
{
    my ($method, $path, $status) = @$_;

    is(call('plain', $method, $path)->{status}, $status,
       "refused: $method $path");
}

# answers of the mesh, from what an endpoint says

my %codes = (0 => ['upstream-reset', 13], 2 => ['upstream-reset', 13],
             7 => ['upstream-refused', 14], 8 => ['upstream-cancelled', 1],
             11 => ['upstream-overloaded', 8],
             12 => ['upstream-insecure', 7]);

for my $reset (sort { $a <=> $b } keys %codes) {
    my ($code, $status) = @{$codes{$reset}};
    my $r = call('plain', 'POST', "/reset/$reset", 'body=0');

    is("$r->{status} " . field($r, 'mesh-error') =~ s/;.*//r, "502 $code",
       "reset $reset");

    $r = call('plain', 'POST', "/reset/$reset", 'body=0',
              'content-type=application/grpc');
    is("$r->{status} " . field($r, 'grpc-status') . ' '
       . field($r, 'mesh-error') =~ s/;.*//r, "200 $status $code",
       'to gRPC');
    is($t->metric('response_total', error => $code, grpc_status => $status),
       $reset == 2 ? 2 : 1, 'and counted');
}

for (['/goaway', 'upstream-refused', 14], ['/close', 'upstream-closed', 14],
     ['/garbage', 'upstream-invalid', 13])
{
    my ($path, $code, $status) = @$_;
    my $r = call('plain', 'POST', $path, 'body=0',
                 'content-type=application/grpc+proto');

    is(field($r, 'grpc-status') . ' ' . field($r, 'mesh-error') =~ s/;.*//r,
       "$status $code", $path);
    is(field($r, 'content-type'), 'application/grpc', 'as gRPC');
}

my $r = call('10.96.14.9:80', 'GET', '/');

is("$r->{status} " . field($r, 'mesh-error') =~ s/;.*//r,
   '503 no-endpoints', 'a service without endpoints');

$r = call('10.96.14.9:80', 'POST', '/', 'body=0',
          'content-type=application/grpc-web');
is($r->{status}, 503, 'gRPC-Web is not gRPC');

# broken off: gRPC is told why

for my $way (qw(plain meshed inbound)) {
    for (['/reset-after/8', 1, 'upstream-cancelled'],
         ['/reset-after/11', 8, 'upstream-overloaded'],
         ['/close-after', 14, 'upstream-closed'])
    {
        my ($path, $status, $code) = @$_;

        $r = call($way, 'POST', $path, 'body=0',
                  'content-type=application/grpc');

        my %trailer = map { $_->[0] => $_->[1] } @{$r->{trailers}};

        is("$r->{status} $r->{body} $trailer{'grpc-status'}"
           . " $trailer{'mesh-error'}", "200 part $status $code",
           "$way: $path: gRPC is told why") or diag explain $r;
    }
}

is($t->metric('response_total', dst_service => 'old', status_code => 200,
              classification => 'failure', grpc_status => 1,
              error => 'upstream-cancelled'), 1, 'and it is counted');

for my $path ('/reset-after/8', '/close-after') {
    my $before = $t->metric('response_total', status_code => 200,
                            classification => 'failure');
    $r = call('meshed', 'GET', $path);

    is("$r->{status} $r->{reset}", '200 2', "$path is a reset");
    ok($t->wait_for('broken', sub {
        return $t->metric('response_total', status_code => 200,
                          classification => 'failure') == $before + 1;
    }), 'and a failure');
}

ok($t->wait_for('all responses', sub {
    return $t->metric('request_total') == $t->metric('response_total');
}), 'as many responses as requests');

# a peer's certificate ends, its connection has to follow

$t->new_cert('short', san => [MeshNginx::spiffe('cart')],
             end => MeshNginx::stamp(time + 4));

my $tls = 'tls=' . $t->dir . '/ca/short';

$r = call('inbound', 'GET', '/echo', $tls);
is($r->{status}, 200, 'a certificate that ends soon does') or diag explain $r;

ok($t->wait_for('its end', sub {
    $r = call('inbound', 'GET', '/echo', $tls, 'again');
    return $r->{status} != 200;
}), 'and does not any more, on the same connection');
is("$r->{status} " . field($r, 'mesh-error') =~ s/;.*//r,
   '403 peer-expired', 'as is told');

$r = call('inbound', 'GET', '/echo', $tls, 'again');
is($r->{goaway}, 0, 'and the connection goes away with the next');
is($t->metric('response_total', error => 'peer-expired'), 2, 'counted');

# many streams at a time

my ($n, $m) = $ENV{MESH_ASAN} ? (1000, 8) : (4000, 64);
my ($rc, $said) = MeshNginx::run_command('h2load', '-n', $n, '-c', 16,
                                         '-m', $m,
                                         'http://10.96.21.1/index.html');

like($said, qr/ $n succeeded, 0 failed, 0 errored, 0 timeout/,
     "h2load: 16 connections of $m streams");

for my $nginx ($t, $peer) {
    my @errors = grep { /\[(?:alert|crit|emerg)\]|unknown stream/ }
                 split /^/, $nginx->error_log();

    is("@errors", '', 'the log has no alert and no unknown stream');
}

done_testing();
