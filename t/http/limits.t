use strict;
use warnings;

# Clients that take their time: how long each step may last, with the numbers
# of conf/ made small.  The table is in ngx_mesh_module/README.md.

use FindBin qw($Bin);
use MeshNginx;
use Net::SSLeay;
use Test::More;
use Time::HiRes qw(time sleep);

my $t = MeshNginx->new();

$t->new_cert($_) for qw(web cart);
$t->use_cert('web');
$t->state(MeshNginx::shop());

my $old = $t->app('http', '10.244.1.10:8080', name => 'old');
my $raw = $t->app('echo', '10.244.1.10:9090', name => 'raw');
my $web = $t->app('http', '10.244.0.5:8080', name => 'web');
my $tcp = $t->app('echo', '10.244.0.5:6379', name => 'tcp');

my %numbers = (
    'client_header_timeout' => ['transparent', '60s', '600ms'],
    'ssl_handshake_timeout' => ['mesh', '10s', '600ms'],
    'worker_connections' => ['mesh', '4096', '64'],
);

$t->start(main => 'mesh_detect timeout=50ms;', edit => sub {
    my $transparent = MeshNginx::slurp("$Bin/../../conf/transparent.conf");

    for my $name (sort keys %numbers) {
        my ($file, $is, $small) = @{$numbers{$name}};
        my $text = $file eq 'mesh' ? \$_ : \$transparent;

        ok($$text =~ s/^(\s*$name\s+)$is;/$1$small;/m, "$name is $is");
    }

    MeshNginx::spew($t->dir . '/small.conf', $transparent);
    s{include\s+\S+transparent\.conf}{include  $t->{dir}/small.conf};
});


# what comes until the connection ends, and after how many milliseconds

sub end_of {
    my ($s) = @_;
    my $began = time;

    return (MeshNginx::read_some($s, 1 << 20), 1000 * (time - $began));
}


# a ClientHello for mesh TLS

sub hello {
    my ($alpn) = @_;
    my $ctx = Net::SSLeay::CTX_new();
    my $ssl = Net::SSLeay::new($ctx);
    my $out = Net::SSLeay::BIO_new(Net::SSLeay::BIO_s_mem());

    Net::SSLeay::set_bio($ssl, Net::SSLeay::BIO_new(Net::SSLeay::BIO_s_mem()),
                         $out);
    Net::SSLeay::CTX_set_alpn_protos($ctx, ['mesh/1', $alpn]);
    Net::SSLeay::set_alpn_protos($ssl, ['mesh/1', $alpn])
        if defined &Net::SSLeay::set_alpn_protos;
    Net::SSLeay::connect($ssl);

    return Net::SSLeay::BIO_read($out);
}


# a request line, a header, that does not come to its end

for my $part ('GE', 'GET / HTTP/1.1', "GET / HTTP/1.1\r\nHost: h\r\nX-A: ") {
    my $s = $t->connect('10.96.14.8:80');

    MeshNginx::write_all($s, $part);

    my ($text, $ms) = end_of($s);

    ok($text eq '' || $text =~ /^HTTP\/1\.1 408 /,
       'a header ends: ' . substr($part, -6) =~ s/\r\n/ /gr);
    cmp_ok($ms, '<', 3000, 'in time');
}

# drop by drop

my $s = $t->connect('10.96.14.8:80');
my $began = time;

{
    local $SIG{PIPE} = 'IGNORE';
    MeshNginx::write_all($s, "GET / HTTP/1.1\r\n");

    while (time - $began < 5) {
        last if !defined $s->syswrite('X');
        sleep 0.05;
    }
}

cmp_ok(time - $began, '<', 4, 'a header drop by drop, too');

# what began like HTTP on a port that nobody declared goes on as it is

$s = $t->connect('10.96.14.8:90');
MeshNginx::write_all($s, 'GE');
is(MeshNginx::read_some($s, 2), 'GE', 'an undeclared port gets what came');
close $s;

# mesh TLS that does not come to its end

for my $case (['http/1.1', '10.244.0.5:8080'], ['mesh-tcp', '10.244.0.5:6379'])
{
    my ($alpn, $at) = @$case;
    my $hello = hello($alpn);

    for my $bytes ($hello, substr $hello, 0, 40) {
        my $s = $t->connect($at);

        MeshNginx::write_all($s, $bytes);

        my ($text, $ms) = end_of($s);

        ok($bytes eq $hello || $text !~ /^\x16/,
           length($bytes) . " bytes of a handshake for $alpn");
        cmp_ok($ms, '<', 3000, 'end in time');
    } continue {
        last if $at =~ /6379/;             # a part of one is the echo's
    }
}

is(scalar $web->noted(qr/GET/), 0, 'no application saw any of them');

# more of them than there are connections: those that wait give way

my @slow = map {
    my $s = $t->connect($_ % 2 ? '10.96.14.8:80' : '10.244.0.5:8080');
    eval { MeshNginx::write_all($s, 'GE') };
    $s;
} 1 .. 150;

is(eval { $t->get('10.96.14.8:80', '/')->{status} }, 200,
   'a request is served among too many that are none');
is(scalar @slow, 150, 'of which there were more than connections');

done_testing();
