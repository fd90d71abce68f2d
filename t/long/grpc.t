use strict;
use warnings;

# t/http/grpc.t with 100,000 calls, 16 connections of 64 streams, at most 200
# calls with messages of 1 MiB to 16 MiB.

use MeshNginx;

BEGIN { $ENV{MESH_MIXTURE} //= '100000 16 64 200' }

my $file = ($ENV{MESH_ROOT} // '.') . '/t/http/grpc.t';
my $done = do $file;

die $@ || "$file: $!" if !defined $done;
