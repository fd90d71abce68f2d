use strict;
use warnings;

# What the application has said is with the client before it says more: the
# header before the body, each piece of the body before the next.  The
# application waits for a file that the client makes when it has read so far.

use MeshNginx;
use Test::More;
use Time::HiRes qw(sleep);

my $t = MeshNginx->new();
my $at = '10.244.1.9:8080';
my $step = $t->dir() . '/step';

my %body = (
    length  => ["Content-Length: 6\r\n", 'one', 'two'],
    chunked => ["Transfer-Encoding: chunked\r\n", "3\r\none\r\n",
                "3\r\ntwo\r\n0\r\n\r\n"],
    end     => ['', 'one', 'two'],
);


sub serve {
    my ($app, $s) = @_;
    my $text = '';

    while ($text !~ /\r\n\r\n/) {
        $s->sysread($text, 65536, length $text) or return;
    }

    my ($name) = $text =~ m{^GET /(\w+)};
    my ($framing, @parts) = @{$body{$name}};
    my $n = 0;

    for my $part ("HTTP/1.1 200 OK\r\n$framing\r\n", @parts) {
        MeshApp::send_all($s, $part);
        $n++;

        for (1 .. 2000) {
            last if -f "$step.$name.$n";
            sleep(0.01);
        }
    }
}


my $app = $t->app('raw', $at, serve => \&serve);
my $peer = $t->start_pair();


# bytes until they match

sub read_until {
    my ($s, $match) = @_;
    my $text = '';

    while ($text !~ $match) {
        my $c = MeshNginx::read_some($s, 1);
        return "cut: $text" if $c eq '';
        $text .= $c;
    }

    return $text;
}


for my $name (sort keys %body) {
    my $s = $t->connect($at);
    my $n = 0;

    MeshNginx::write_all($s, "GET /$name HTTP/1.1\r\nHost: h\r\n\r\n");

    for (['header', qr/\r\n\r\n$/], ['first piece', qr/one/],
         ['second piece', qr/two/])
    {
        my ($what, $match) = @$_;

        like(read_until($s, $match), $match, "$name: $what comes at once");

        $n++;
        MeshNginx::spew("$step.$name.$n", '');
    }
}

done_testing();
