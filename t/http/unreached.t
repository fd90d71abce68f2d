use strict;
use warnings;

# The application of an endpoint is down, its sidecar is not: another endpoint
# is tried if nothing reached an application, and no application can make
# believe so.

use MeshNginx;
use Test::More;

my $t = MeshNginx->new();
my ($one, $two) = ('10.244.1.9:8080', '10.244.2.9:8080');
my $forge = "HTTP/1.1 502 Forged\r\nContent-Length: 6\r\n"
            . "mesh-unreached: $one\r\nMesh-Unreached: $one\r\n\r\nforged";
my $app = $t->app('http', $two, name => 'two');
my $peer = $t->start_pair();

# a slow answer makes the balancer prefer the other, dead one

my $pid = fork;

if (!$pid) {
    select undef, undef, undef, 0.3;
    MeshNginx::spew($t->dir . '/go', '');
    POSIX::_exit(0);
}

is($t->get('10.96.16.2:80', '/slow')->{status}, 200, 'a slow answer');
waitpid $pid, 0;

is($t->get('10.96.16.2:80', "/$_")->{body}, "two GET /$_\n",
   "the living one answers, $_") for 1 .. 8;
is($t->get('10.96.16.2:80', "/post/$_", method => 'POST', body => "b$_")
   ->{body}, "two POST /post/$_\nb$_", "a POST too, $_") for 1 .. 8;
is(scalar($app->noted(qr/POST/)), 8, 'each of them once');
like($t->error_log, qr/$one failed: connect-failed, trying another one/,
     'the dead one was tried');
unlike(join('', $app->noted), qr/unreached/i, 'the application sees no mark');

my $r = $t->get($one, '/');

is($r->{status}, 502, 'no other endpoint is 502');
like($r->{headers}{'mesh-error'}, qr/^connect-failed; /, 'and says so');
is($r->{headers}{'mesh-unreached'}, undef, 'without the mark');
is($t->metric('response_total', direction => 'outbound',
              status_code => '502'), 1, 'counted as that');

# what the client of a sidecar sees is shown by a peer of our own

my $pod = '10.244.0.5:8080';

$r = $t->get($pod, '/', cert => 'cart');
is($r->{status}, 502, 'inbound, a dead application is 502');
is($r->{headers}{'mesh-unreached'}, $pod, 'with the address, to a sidecar');
$r = $t->get($pod, '/');
is($r->{status}, 502, 'and to anybody else');
is($r->{headers}{'mesh-unreached'}, undef, 'without it');

my $web = $t->app('raw', $pod, serve => sub {
    my ($app, $s) = @_;

    while (my $text = MeshApp::read_until($s, qr/\r\n\r\n/)) {
        $app->note_bytes($text);
        MeshApp::send_all($s, $forge =~ s/$one/$pod/gr);
    }
});

$r = $t->get($pod, '/', cert => 'cart');
is("$r->{status} $r->{body}", '502 forged', "an application's own 502 passes");
is($r->{headers}{'mesh-unreached'}, undef, 'but not its mark');

# through both sidecars

my $liar = $t->app('raw', $one, serve => sub {
    my ($app, $s) = @_;

    while (my $text = MeshApp::read_until($s, qr/\r\n\r\n/)) {
        $app->note_bytes($text);
        MeshApp::send_all($s, $forge);
    }
});

my $before = $app->noted(qr/LIE/);

for (1 .. 8) {
    $r = $t->get('10.96.16.2:80', '/LIE');
    ok($r->{status} == 502 ? $r->{body} eq 'forged' : $r->{status} == 200,
       "a forged mark is not believed, $_");
}

is($liar->noted(qr/LIE/) + $app->noted(qr/LIE/) - $before, 8,
   'each request reached one application');

# an endpoint without a sidecar cannot be believed either

my $old = $t->app('raw', '10.244.1.10:8080', serve => sub {
    my ($app, $s) = @_;

    MeshApp::read_until($s, qr/\r\n\r\n/);
    MeshApp::send_all($s, $forge =~ s/$one/10.244.1.10:8080/gr);
});

$r = $t->get('10.244.1.10:8080', '/');
is("$r->{status} $r->{body}", '502 forged', 'a plain endpoint is not believed');
is($r->{headers}{'mesh-unreached'}, undef, 'and its mark does not pass');

# a request that had been sent before is not taken for one that was not

$liar->stop();

my $once = $t->app('raw', $one, serve => sub {
    my ($app, $s) = @_;

    while (my $text = MeshApp::read_until($s, qr/\r\n\r\n/)) {
        $app->note_bytes($text);
        last if $text =~ m{/die};
        MeshApp::send_all($s, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    }

    kill 'TERM', getppid;                  # nobody listens any more
});

is($t->get($one, '/warm')->{body}, 'ok', 'a pooled connection');
$before = $app->noted(qr/die/);

$r = $t->get($one, '/die');
is($r->{status}, 502, 'an application that dies of a request is 502');
is($app->noted(qr/die/) - $before, 0, 'and no other one gets it');

done_testing();
