use strict;
use warnings;

# Pooled connections: an application that closes them is not noticed by its
# clients, and none of them costs much or is kept for ever.

use MeshNginx;
use Test::More;
use Time::HiRes qw(sleep);

my $t = MeshNginx->new();
my $at = '10.244.1.9:8080';

# /SECONDS/NUMBER: closes the connection so long after the answer, and says
# nothing of it; the number of each request is noted, "many" waits for a file

my $app = $t->app('raw', $at, serve => sub {
    my ($app, $s) = @_;
    my ($text, $wait) = ('', 5);

    while (1) {
        while ($text !~ /\r\n\r\n/) {
            my $ready = '';
            vec($ready, fileno $s, 1) = 1;
            select $ready, undef, undef, $wait or return;
            $s->sysread($text, 65536, length $text) or return;
        }

        my ($seconds, $n) = $text =~ m{^\S+ /([\d.]+)/(\w+)};
        my ($length) = $text =~ /^content-length: (\d+)/mi;

        $length //= 0;

        while ($text !~ /\r\n\r\n.{$length}\z/s) {
            $s->sysread($text, 65536, length $text) or return;
        }

        $text = '';
        $app->note("request $n");
        sleep 0.02 while $n eq 'many' && !-e "$app->{dir}/go";
        MeshApp::send_all($s, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        $wait = $seconds;
        return if !$wait;
    }
});

my $peer = $t->start_pair();


# requests on kept client connections; what is not 200

sub run {
    my ($n, $path, %opt) = @_;
    my $s = $t->connect($at);
    my @bad;

    for (1 .. $n) {
        my $method = $opt{post} && $_ % 2 ? 'POST' : 'GET';
        my $number = $opt{name} . $_;
        my $r = eval {
            $t->get('', "$path/$number", socket => $s, method => $method,
                    body => $method eq 'POST' ? 'body' : '');
        };

        push @bad, "$method $number: " . ($r ? $r->{status} : $@)
            if !$r || $r->{status} != 200;
        $s = $t->connect($at) if !$r;
        sleep $opt{sleep}->() if $opt{sleep};
    }

    return join ', ', @bad;
}


sub requests {
    my ($name) = @_;
    my %seen;

    $seen{$_}++ for $app->noted(qr/^request $name/);

    return (scalar keys %seen, scalar grep { $_ > 1 } values %seen);
}


is(run(200, '/0', name => 'at'), '', 'closed right after each answer');
is(run(200, '/0.02', name => 'soon', sleep => sub { 0.015 + rand 0.01 }), '',
   'closed at about the time of the next request');
is(run(100, '/5', name => 'kept', post => 1), '', 'kept');

my ($all, $twice) = requests('kept');

is("$all $twice", '100 0', 'each request came once');
cmp_ok($t->metrics()->{mesh_pool_reused_total}, '>=', 300,
       'connections between sidecars are used again');

# no more than their number is kept

my $many = $ENV{MESH_ASAN} ? 20 : 70;   # sanitizers make handshakes slow
my $kept = $many < 64 ? $many : 64;
my $idle = sub { $_[0]->metrics()->{mesh_pool_idle} };
my @s = map { $t->connect($at) } 1 .. $many;

MeshNginx::write_all($_, "GET /30/many HTTP/1.1\r\nHost: h\r\n\r\n") for @s;
ok($t->wait_for('requests', sub { $app->noted(qr/many/) == $many }),
   'many requests at a time');
MeshNginx::spew($t->dir . '/go', '');
is(scalar(grep { MeshNginx::read_response($_)->{status} == 200 } @s), $many,
   'are answered');

ok($t->wait_for('pool', sub {
    return $idle->($t) == $kept && $idle->($peer) == $kept;
}), '64 of their connections are kept by each side')
    or diag($idle->($t) . ' and ' . $idle->($peer));

# and not for long when the application goes

$app->stop();
ok($t->wait_for('pool', sub { $idle->($peer) == 0 }),
   'an application that goes takes its own with it');

done_testing();
