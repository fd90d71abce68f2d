package MeshApp;

# Applications, and other pods' sidecars as far as a connection can tell.
# Each is a process of its own that forks for every connection and notes what
# came in a log, one line each.  Types:
#
#     http     answers "NAME METHOD URI\n"; /status/503 answers that status,
#              /slow waits until the file dir/go exists, /drop closes without
#              an answer, /broken ends in the middle of the body, /chunked
#     echo     sends back what came
#     first    speaks first: "220 NAME\r\n", then echoes
#     grpc     mesh_grpc.py, a process of another kind; knows no options
#     h2       mesh_h2.py, the same
#     nghttpd  serves the files in dir/www, with options => [..]
#     raw      does what option serve, a function, does with the application
#              and the connection
#
# Option tls => 'cert' makes it speak mesh TLS with that certificate of dir/ca
# and note who called; own_tls => 'cert' is an application's TLS, which asks
# nobody for a certificate and notes the server name that it was called by.

use strict;
use warnings;

use File::Basename qw(dirname);
use IO::Socket::IP;
use IO::Socket::SSL;
use POSIX ();
use Socket qw(SOCK_STREAM IPPROTO_TCP TCP_NODELAY);
use Time::HiRes qw(sleep);

my %types = (http => \&serve_http, echo => \&serve_echo,
             first => \&serve_first,
             raw => sub { $_[0]{serve}->(@_) });


sub new {
    my ($class, $type, $address, %opt) = @_;
    my ($host, $port) = $address =~ /^\[?(.*?)\]?:(\d+)$/ or die $address;

    my $self = bless {
        name => $opt{name} // $address,
        dir => $opt{dir},
        serve => $opt{serve},
        log => "$opt{dir}/app-$host-$port.log",
    }, $class;

    return $self->program($type, $host, $port, %opt) if !$types{$type};

    my $listen = IO::Socket::IP->new(LocalHost => $host, LocalPort => $port,
                                     Type => SOCK_STREAM, Listen => 128,
                                     ReuseAddr => 1)
        or die "listen on $address: $@";

    open my $log, '>', $self->{log} or die "$self->{log}: $!";
    close $log;

    $self->{pid} = fork // die "fork: $!";
    return $self if $self->{pid};

    setpgrp;
    $SIG{CHLD} = 'IGNORE';
    $SIG{PIPE} = 'IGNORE';
    $SIG{TERM} = 'DEFAULT';

    while (my $s = $listen->accept) {
        my $pid = fork;

        if (defined $pid && !$pid) {
            close $listen;
            $s->setsockopt(IPPROTO_TCP, TCP_NODELAY, 1);
            eval { $self->serve($s, $types{$type}, %opt) };
            POSIX::_exit(0);
        }

        close $s;
    }

    POSIX::_exit(0);
}


# an application that is not of this file: it is there when its socket is

sub program {
    my ($self, $type, $host, $port, %opt) = @_;
    my $address = $host =~ /:/ ? "[$host]:$port" : "$host:$port";

    my @command = $type ne 'nghttpd'
        ? ('/usr/bin/python3', dirname(__FILE__) . "/mesh_$type.py", 'serve',
           $address, $self->{log})
        : ('nghttpd', '--no-tls', '-a', $host, '-d', "$opt{dir}/www",
           @{$opt{options} // []}, $port);

    unlink $self->{log};
    $self->{pid} = fork // die "fork: $!";

    if (!$self->{pid}) {
        setpgrp;
        open STDIN, '<', '/dev/null';
        open STDOUT, '>>', '/dev/null';
        exec @command or die "$command[0]: $!";
    }

    for (1 .. 500) {
        return $self if listens($port);
        sleep 0.02;
    }

    die "@command does not listen";
}


# whether anything in this network namespace listens on port

sub listens {
    my ($port) = @_;
    my $text = '';

    for my $table ('/proc/net/tcp', '/proc/net/tcp6') {
        open my $in, '<', $table or next;
        local $/;
        $text .= <$in>;
    }

    return $text =~ sprintf '(?m)^ *\d+: [0-9A-F]+:%04X [0-9A-F]+:0000 0A',
                            $port;
}


# ends it with all its connections

sub stop {
    my ($self) = @_;
    my $pid = delete $self->{pid} or return;

    kill 'TERM', -$pid, $pid;
    waitpid $pid, 0;
}


sub note {
    my ($self, $line) = @_;

    open my $log, '>>', $self->{log} or die "$self->{log}: $!";
    syswrite $log, "$line\n";
}


# bytes in one line

sub note_bytes {
    my ($self, $bytes) = @_;

    $self->note(join '', map {
        /[\x21-\x7e ]/ && $_ ne '\\' ? $_
        : $_ eq "\r" ? '\r' : $_ eq "\n" ? '\n' : sprintf('\x%02x', ord)
    } split //, $bytes);
}


# reads until the bytes match, or to the end; what was read, or undef

sub read_until {
    my ($s, $pattern) = @_;
    my $text = '';

    while ($text !~ $pattern) {
        $s->sysread(my $part, 65536) or return;
        $text .= $part;
    }

    return $text;
}


# the lines that were noted; with a pattern, those that match

sub noted {
    my ($self, $pattern) = @_;

    open my $log, '<', $self->{log} or die "$self->{log}: $!";
    my @lines = <$log>;
    chomp @lines;

    return $pattern ? grep { $_ =~ $pattern } @lines : @lines;
}


sub serve {
    my ($self, $s, $serve, %opt) = @_;

    if ($opt{tls}) {
        my $ca = "$self->{dir}/ca";

        my $ok = IO::Socket::SSL->start_SSL($s,
            SSL_server => 1,
            SSL_cert_file => "$ca/$opt{tls}.pem",
            SSL_key_file => "$ca/$opt{tls}.key",
            SSL_ca_file => "$ca/" . ($opt{ca} // 'root') . '.crt',
            SSL_verify_mode => SSL_VERIFY_PEER
                               | SSL_VERIFY_FAIL_IF_NO_PEER_CERT,
            SSL_alpn_protocols => ['mesh-tcp', 'http/1.1', 'mesh/1'],
        );

        if (!$ok) {
            $self->note('refused: ' . IO::Socket::SSL::errstr());
            return;
        }

        my @san = $s->peer_certificate('subjectAltNames');

        $self->note("client $san[1] alpn " . $s->alpn_selected());

    } elsif ($opt{own_tls}) {
        my $ca = "$self->{dir}/ca";

        IO::Socket::SSL->start_SSL($s,
            SSL_server => 1,
            SSL_cert_file => "$ca/$opt{own_tls}.pem",
            SSL_key_file => "$ca/$opt{own_tls}.key",
        ) or return $self->note('refused: ' . IO::Socket::SSL::errstr());

        $self->note('server name ' . ($s->get_servername() // 'none'));

    } else {
        $self->note('plain');
    }

    $serve->($self, $s);
    close $s;
}


sub serve_echo {
    my ($self, $s) = @_;

    while ($s->sysread(my $part, 65536)) {
        $self->note("data $part");
        send_all($s, $part);
    }
}


sub serve_first {
    my ($self, $s) = @_;

    send_all($s, "220 $self->{name}\r\n");
    $self->serve_echo($s);
}


sub serve_http {
    my ($self, $s) = @_;
    my $text = '';

    while (1) {
        my $end;

        while (($end = index $text, "\r\n\r\n") < 0) {
            return if !$s->sysread($text, 65536, length $text);
        }

        my $head = substr $text, 0, $end + 4, '';
        my ($method, $uri) = $head =~ /^(\S+) (\S+)/;
        my ($length) = $head =~ /^content-length:\s*(\d+)/mi;

        while ($length && length $text < $length) {
            last if !$s->sysread($text, 65536, length $text);
        }

        my $body = substr $text, 0, $length // 0, '';

        $self->note("$method $uri");
        $self->note("header $_") for grep { /:/ } split /\r\n/, $head;

        return if !$self->answer($s, $method, $uri, $body);
    }
}


# 0: the connection ends with this answer

sub answer {
    my ($self, $s, $method, $uri, $body) = @_;
    my $status = $uri =~ m{^/status/(\d+)} ? "$1 Word" : '200 OK';
    my $text = "$self->{name} $method $uri\n$body";
    my $length = length $text;

    return 0 if $uri eq '/drop';

    if ($uri eq '/slow') {
        sleep 0.02 while !-e "$self->{dir}/go";
    }

    if ($uri eq '/broken') {
        send_all($s, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\npart");
        return 0;
    }

    if ($uri eq '/chunked') {
        send_all($s, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                     . sprintf("%x\r\n%s\r\n0\r\n\r\n", $length, $text));
        return 1;
    }

    $text = '' if $method eq 'HEAD';
    send_all($s, "HTTP/1.1 $status\r\nServer: app\r\n"
                 . "Content-Length: $length\r\n\r\n$text");

    return 1;
}


sub send_all {
    my ($s, $text) = @_;

    while (length $text) {
        my $n = $s->syswrite($text) or return;
        substr $text, 0, $n, '';
    }
}


1;
