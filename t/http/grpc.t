use strict;
use warnings;

# gRPC through two sidecars and mutual TLS: all shapes, statuses, deadlines,
# cancellations; what is counted.

use MeshNginx;
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


# runs mesh_grpc.py and takes apart what it prints

sub grpc {
    my @command = ('/usr/bin/python3', "$root/t/lib/mesh_grpc.py", @_);

    return decode_json(MeshNginx::must(@command));
}


for my $shape (qw(unary server client bidi)) {
    my $r = grpc('call', '10.96.14.7:90', $shape, '--seed', 7, '--sent', 300,
                 '--size', 4000, '--count', 3,
                 '--metadata', "x-note=$shape");

    is($r->{code}, 0, "$shape: OK") or diag explain $r;
    is($r->{got}, $shape =~ /unary|client/ ? 1 : 3, 'with all answers');
    is($r->{trailers}{'x-trailer'}, 7, 'and trailers');
}

done_testing();
