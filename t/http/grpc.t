use strict;
use warnings;

# gRPC through two sidecars and mutual TLS: all shapes, statuses, deadlines,
# cancellations; what is counted.

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
$t->state(MeshNginx::shop());
$peer->state(MeshNginx::shop(self => 'cart'));

my $cart = $t->app('grpc', '10.244.1.9:9090');

$peer->start(cert => 'cart');
$t->start();


# calls are made by one mesh_grpc.py, which prints what came of each

my @grpc = ('/usr/bin/python3', "$root/t/lib/mesh_grpc.py");

open2(my $from_caller, my $to_caller, @grpc, 'talk');

sub grpc {
    print $to_caller "@_\n";

    return decode_json(scalar <$from_caller>);
}


my $cart_id = MeshNginx::spiffe('cart');
my $web_id = MeshNginx::spiffe('web');
my %out = (direction => 'outbound', dst_service => 'cart', tls => 'true',
           server_id => $cart_id);
my %in = (direction => 'inbound', tls => 'true', client_id => $web_id);


# both sidecars count n responses with these labels, and no request more

sub counted {
    my ($what, $n, %labels) = @_;

    for (['outbound', $t, \%out], ['inbound', $peer, \%in]) {
        my ($side, $nginx, $own) = @$_;
        my %all = (%$own, %labels);

        $nginx->wait_for($what, sub {
            return $nginx->metric('response_total', %all) >= $n;
        });

        is($nginx->metric('response_total', %all), $n, "$side: $what: $n");
        is($nginx->metric('request_total'),
           $nginx->metric('response_total'), 'as many requests in all');
    }
}


# shapes

for my $shape (qw(unary server client bidi)) {
    my $r = grpc('10.96.14.7:90', $shape, '--seed', 7, '--sent', 300,
                 '--size', 4000, '--count', 3,
                 '--metadata', "x-note=$shape");

    is($r->{code}, 0, "$shape: OK") or diag explain $r;
    is($r->{got}, $shape =~ /unary|client/ ? 1 : 3, 'with all answers');
    is($r->{trailers}{'x-trailer'}, 7, 'and trailers');
}

counted('OK', 4, grpc_status => 0, status_code => 200,
        classification => 'success');

is(scalar $cart->noted(qr/ deadline$/), 4, 'deadlines are passed on');
is(scalar $cart->noted(qr/^metadata user-agent: grpc-python-asyncio/), 4,
   'so is metadata');

# messages of any size

for my $shape (qw(unary server client bidi)) {
    my $r = grpc('10.96.14.7:90', $shape, '--sent', 5_000_000,
                 '--size', 6_000_000, '--count', 2);

    is($r->{code}, 0, "$shape: large messages") or diag explain $r;

    $r = grpc('10.96.14.7:90', $shape);
    is($r->{code}, 0, "$shape: empty messages") or diag explain $r;
}

counted('OK', 12, grpc_status => 0, classification => 'success');

# statuses: in the header block, in trailers

for my $status (1 .. 16) {
    my $r = grpc('10.96.14.7:90', 'unary', '--status', $status);

    is("$r->{code} $r->{details}", "$status asked for $status",
       "status $status alone") or diag explain $r;

    $r = grpc('10.96.14.7:90', 'server', '--status', $status,
              '--count', 2);
    is("$r->{code} $r->{got}", "$status 2", 'and after messages')
        or diag explain $r;

    counted("status $status", 2, grpc_status => $status, status_code => 200,
            classification => scalar(grep { $_ == $status }
                                     2, 4, 7, 13, 14, 15)
                              ? 'failure' : 'success');
}

# the caller does not wait

my $r = grpc('10.96.14.7:90', 'unary', '--patience', 0.3,
             '--metadata', 'x-sleep=20');

is($r->{code}, 1, 'a call is cancelled');
ok($t->wait_for('cancelled', sub { $cart->noted(qr/^unary cancelled/) }),
   'the application hears of it');
counted('cancelled', 1, grpc_status => 1, status_code => 499,
        classification => 'failure');

grpc('10.96.14.7:90', 'server', '--count', 100000, '--size', 1000,
     '--cancel');
counted('cancelled in the middle', 3, grpc_status => 1, status_code => 200);

# both ends keep the time, and who is first may count it differently

$r = grpc('10.96.14.7:90', 'unary', '--timeout', 0.3,
          '--metadata', 'x-sleep=20');

is($r->{code}, 4, 'a deadline is kept');
cmp_ok($r->{seconds}, '<', 5, 'at once');

# answers of the mesh

for (['10.96.14.9:80', 14, 'no-endpoints', 'the service has no ready'
      . ' endpoint', dst_service => 'empty'],
     ['10.96.14.8:90', 14, 'connect-failed', 'no endpoint accepted the'
      . ' connection', dst_service => 'old'])
{
    my ($address, $status, $code, $sentence, %labels) = @$_;

    for my $shape (qw(unary bidi)) {
        $r = grpc($address, $shape);

        is($r->{code}, $status, "$code: the status, $shape");
        is($r->{details}, $sentence, 'and the sentence');
        is($r->{trailers}{'mesh-error'}, "$code; $sentence", 'and the code');
    }

    is($t->metric('response_total', %labels, status_code => 200,
                  grpc_status => $status, error => $code,
                  classification => 'failure'), 2, 'counted by its code');
}

$cart->stop();
$r = grpc('10.96.14.7:90', 'unary');
is("$r->{code} $r->{details}",
   '14 no endpoint accepted the connection',
   'without an application behind the other sidecar: UNAVAILABLE');
is($r->{trailers}{'mesh-unreached'}, undef, 'what sidecars tell each other'
   . ' stays with them');

$peer->stop();
$r = grpc('10.96.14.7:90', 'unary');
is($r->{code}, 14, 'without the other sidecar too');

# a mixture, many at a time; both ends and both sidecars count the same

my ($calls, $connections, $streams, $large)
    = split ' ', $ENV{MESH_MIXTURE} // '1000 4 16 2';

$cart = $t->app('grpc', '10.244.1.9:9090');
$peer->start(cert => 'cart');

my @sides = ([$t, \%out], [$peer, \%in]);
my @before = map { by_status(@$_) } @sides;


# grpc_status => responses

sub by_status {
    my ($nginx, $labels) = @_;

    return { map { $_ => $nginx->metric('response_total', %$labels,
                                        grpc_status => $_) } 0 .. 16 };
}


$r = decode_json(MeshNginx::must(@grpc, 'load', '10.96.14.7:90',
                                 '--calls', $calls, '--large', $large,
                                 '--connections', $connections,
                                 '--streams', $streams));

is($r->{right}, $calls, "all of $calls calls are right, $connections times"
   . " $streams at a time") or diag explain $r->{wrong};
diag(sprintf '%.0f calls a second', $calls / $r->{seconds})
    if $ENV{MESH_MIXTURE};

my %called;

$called{(split ' ')[1]} += $r->{counts}{$_} for keys %{$r->{counts}};

for my $i (0, 1) {
    my ($nginx, $labels) = @{$sides[$i]};
    my $now;

    $nginx->wait_for('all counted', sub {
        $now = by_status($nginx, $labels);
        $now->{$_} -= $before[$i]{$_} for keys %$now;

        return $calls == eval join '+', values %$now;
    });

    is_deeply($now, { map { $_ => $called{$_} // 0 } 0 .. 16 },
              ($i ? 'the inbound' : 'the outbound') . ' side counts them');
}

$cart->stop();
is_deeply(decode_json(MeshNginx::slurp("$cart->{log}.json")), $r->{counts},
          'so does the application');

for my $nginx ($t, $peer) {
    my @errors = grep { /\[(?:alert|crit|emerg)\]|unknown stream/ }
                 split /^/, $nginx->error_log();

    is("@errors", '', 'the log has no alert and no unknown stream');
}

done_testing();
