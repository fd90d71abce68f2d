use strict;
use warnings;

# How TCP ends, through two sidecars: one direction after the other, by a
# reset, and never by a mesh TLS that was cut off.

use MeshNginx;
use Net::SSLeay;
use Socket qw(SOL_SOCKET SO_LINGER);
use Test::More;
use Time::HiRes qw(sleep);

my $t = MeshNginx->new();
my ($vip, $pod) = ('10.96.14.7:6379', '10.244.1.9:6379');
my $large = join '', map { "line $_\n" } 1 .. 100000;


# reads to the end: what came, and "end" or the error's name

sub drain {
    my ($s) = @_;
    my $text = '';

    local $SIG{ALRM} = sub { die "nothing within 10 s\n" };
    alarm 10;

    while (1) {
        my $n = $s->sysread(my $part, 65536);

        if (!$n) {
            alarm 0;
            return ($text, defined $n ? 'end'
                           : $!{ECONNRESET} || $!{EPIPE} ? 'reset' : "$!");
        }

        $text .= $part;
    }
}


sub abort {
    my ($s) = @_;

    setsockopt $s, SOL_SOCKET, SO_LINGER, pack 'II', 1, 0;
    close $s;
}


# the first line of the client says what the application does

my %play = (
    after => sub {
        my ($app, $s) = @_;
        my ($text, $how) = drain($s);

        $app->note(length($text) . " $how");
        MeshApp::send_all($s, "answer $how $large");
    },
    before => sub {
        my ($app, $s) = @_;

        MeshApp::send_all($s, "greeting $large");
        shutdown $s, 1;

        my ($text, $how) = drain($s);

        $app->note(length($text) . " $how");
    },
    abort => sub { MeshApp::send_all($_[1], 'some'); abort($_[1]) },
    deaf => sub { shutdown $_[1], 0; sleep 0.1; close $_[1] },
    wait => sub { $_[0]->note('waits'); $_[0]->note((drain($_[1]))[1]) },
);

my $serve = sub {
    my ($app, $s) = @_;
    my $line = '';

    while ($line !~ /\n/) {
        last if !$s->sysread($line, 1, length $line);
    }

    chomp $line;
    $app->note("line $line");
    $play{$line}->($app, $s) if $play{$line};
};

my $app = $t->app('raw', $pod, serve => $serve);
my $web = $t->app('raw', '10.244.0.5:6379', serve => $serve);
my $first = $t->app('raw', '10.244.1.9:9090', serve => sub {
    my ($app, $s) = @_;

    MeshApp::send_all($s, 'banner ');
    $app->note((drain($s))[1]);
    MeshApp::send_all($s, 'bye');
});
my $peer = $t->start_pair(extra => <<END);
mesh_service shop/cut:6379 {
    address 10.96.17.1:6379;
    protocol opaque;
    endpoint 10.244.1.11:6379 identity=@{[MeshNginx::spiffe('cart')]};
}
END


sub begin {
    my ($line, %opt) = @_;
    my $s = $t->connect($opt{at} // $vip, %opt);

    MeshNginx::write_all($s, "$line\n");

    return $s;
}


sub noted_last { return ($_[0]->noted)[-1] }

sub settled {
    my ($app, $text) = @_;

    ok($t->wait_for($text, sub { noted_last($app) eq $text }),
       "the application notes \"$text\"");
}


# the client ends first, then the server

my $s = begin('after');
MeshNginx::write_all($s, $large);
shutdown $s, 1;
is(join(' ', drain($s)), "answer end $large end",
   'an answer after the end of the question');
is(noted_last($app), length($large) . ' end', 'which came whole');

$s = begin('after');
shutdown $s, 1;
is((drain($s))[0], "answer end $large", 'an end right behind a line');

# the server ends first

$s = begin('before');
is(join(' ', drain($s)), "greeting $large end", 'the end of a greeting');
sleep 0.1;
MeshNginx::write_all($s, $large);
shutdown $s, 1;
settled($app, length($large) . ' end');
close $s;

# nothing but an end, where the server speaks first

$s = $t->connect('10.96.14.7:90');
shutdown $s, 1;
is(join(' ', drain($s)), 'banner bye end', 'an end and not a word');
settled($first, 'end');

# resets, either way

$s = begin('wait');
settled($app, 'waits');
abort($s);
settled($app, 'reset');

$s = begin('abort');
is((drain($s))[1], 'reset', 'a reset of the application is one');

$s = begin('deaf');
sleep 0.3;
my $how = 'sent';

for (1 .. 20) {
    local $SIG{PIPE} = 'IGNORE';
    last if $how ne 'sent';
    $how = 'reset' if !defined $s->syswrite($large);
}

$how = (drain($s))[1] if $how eq 'sent';
is($how, 'reset', 'so is a write that nobody reads');

# inbound, from another sidecar: close_notify is an end, its absence is not

my %mesh = (at => '10.244.0.5:6379', cert => 'cart', alpn => 'mesh-tcp');


# what comes up to close_notify, read below IO::Socket::SSL, which may leave
# TLS there

sub drain_tls {
    my ($s) = @_;
    my $ssl = $s->_get_ssl_object;
    my $text = '';

    while (my $part = Net::SSLeay::read($ssl)) {
        $text .= $part;
    }

    return ($text, Net::SSLeay::get_shutdown($ssl) & 2 ? 'notified' : 'cut');
}


$s = begin('after', %mesh);
Net::SSLeay::shutdown($s->_get_ssl_object);
is(join(' ', drain_tls($s)), "answer end $large notified",
   'close_notify ends one direction, and the other one ends with it, too');
close $s;

$s = begin('before', %mesh);
is(join(' ', drain_tls($s)), "greeting $large notified",
   'so does the direction of the server when it is first');
Net::SSLeay::write($s->_get_ssl_object, 'more');
Net::SSLeay::shutdown($s->_get_ssl_object);
settled($web, '4 end');
close $s;

$s = begin('wait', %mesh);
settled($web, 'waits');
shutdown $s, 1;
settled($web, 'reset');
close $s;

# outbound: a sidecar that is cut off is no end either

my $cut = $t->app('raw', '10.244.1.11:6379', tls => 'cart', serve => sub {
    my ($app, $s) = @_;
    my $line = MeshApp::read_until($s, qr/\n/);

    MeshApp::send_all($s, 'part');
    Net::SSLeay::shutdown($s->_get_ssl_object) if $line =~ /orderly/;
    shutdown $s, 1;
    drain_tls($s);
});

$s = begin('orderly', at => '10.96.17.1:6379');
is(join(' ', drain($s)), 'part end', 'close_notify of an endpoint is an end');
close $s;
$s = begin('cut off', at => '10.96.17.1:6379');
is((drain($s))[1], 'reset', 'an end without it is not');

# nobody there

$app->stop();
$s = begin('wait');
is((drain($s))[1], 'reset', 'an application that is down is a reset');
$s = begin('wait', at => '10.96.16.2:6379');
is((drain($s))[1], 'reset', 'so is a service without a living one');

my %dst = (direction => 'outbound', peer => 'dst', dst_service => 'cart');

ok($t->wait_for('all are closed', sub {
    return $t->metric('tcp_open_connections', %dst) == 0;
}), 'no connection is left');
ok($t->metric('tcp_close_total', %dst, errno => 'ECONNRESET') >= 3,
   'resets are counted as such');
ok($t->metric('tcp_close_total', %dst, errno => '') >= 3,
   'and ends as ends');

done_testing();
