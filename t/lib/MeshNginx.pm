package MeshNginx;

# A sidecar for prove files: conf/mesh.conf itself, with its paths replaced,
# on nginx as uid 2102 in a network namespace of its own, with redirect rules
# and a throw-away CA.  All addresses of the cluster are local there:
#
#     10.244.0.5, fd00:244::5    the sidecar's pod: connections made by anyone
#                                else than the sidecar go to 4143
#     10/8, fd00::/8, 203.0.113/24
#                                the rest: go to 4140, but for the sidecar
#
# so that one nginx is the outbound side of what the test connects to a
# service, and the inbound side of what it connects to the pod; the other
# side is played by MeshApp, or by a second sidecar: see peer().
#
# From the environment: TEST_NGINX_BINARY, TEST_NGINX_MODULE_SO, MESH_ROOT,
# MESH_BUILD, MESH_TEST_DIR; each has a default for a run by hand.

use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename qw(dirname);
use File::Path qw(make_path remove_tree);
use IO::Socket::IP;
use IO::Socket::SSL;
use POSIX qw(WNOHANG);
use Socket qw(SOCK_STREAM IPPROTO_TCP TCP_NODELAY);
use Test::More ();
use Time::HiRes qw(time sleep);

use MeshApp;

our $UID = 2102;
our $POD4 = '10.244.0.5';
our $POD6 = 'fd00:244::5';
our $PEER_UID = 2103;
our $PEER4 = '10.244.1.9';
our $PEER6 = 'fd00:244:1::9';

my $root = $ENV{MESH_ROOT} // abs_path(dirname(__FILE__) . '/../..');
my $build = $ENV{MESH_BUILD} // "$root/build";
my $binary = $ENV{TEST_NGINX_BINARY} // '/usr/sbin/nginx';
my $module = $ENV{TEST_NGINX_MODULE_SO} // "$build/ngx_mesh_module.so";
my $modules = '/usr/lib/nginx/modules';

my @objects;

# lines of the log that fail a test whatever it compared

my $crash = qr/runtime\ error:|AddressSanitizer|LeakSanitizer
              |exited\ on\ signal\ (?!9\b|15\b)/x;


# import is called when the test file is compiled: its first statement

sub import {
    return if $ENV{MESH_TEST_NETNS};

    Test::More::BAIL_OUT("$module is missing: auto/build") if !-f $module;

    $ENV{MESH_TEST_NETNS} = 1;
    exec 'unshare', '--net', $^X, (map { "-I$_" } grep { !ref } @INC), $0,
         @ARGV
        or die "unshare: $!";
}


sub new {
    my ($class, %opt) = @_;

    my $self = bless {
        dir => $opt{dir} // $ENV{MESH_TEST_DIR} // "/tmp/mesh-test-$$",
        temporary => !$ENV{MESH_TEST_DIR},
        apps => [],
        epoch => 0,
        uid => $UID,
        admin => '127.0.0.1:4191',
    }, $class;

    push @objects, $self;
    remove_tree($self->{dir}, { keep_root => 1 });
    make_path("$self->{dir}/run/identity", "$self->{dir}/run/tmp",
              "$self->{dir}/ca");
    chmod 0755, $self->{dir};

    setup_network() if !$ENV{MESH_TEST_NETWORK}++;
    $self->new_ca('root');

    return $self;
}


# the sidecar of pod shop/cart-1, another nginx: it gets what the first one
# sends to that pod and to 10.244.2/24, and shares its CA.  Give it use_cert,
# state and start, or let start_pair do it.

sub peer {
    my ($self) = @_;

    my $peer = bless {
        dir => "$self->{dir}/peer",
        apps => [],
        epoch => 0,
        uid => $PEER_UID,
        admin => '127.0.0.1:4291',
    }, ref $self;

    push @objects, $peer;
    make_path("$peer->{dir}/run/identity", "$peer->{dir}/run/tmp");
    symlink "$self->{dir}/ca", "$peer->{dir}/ca" or die "symlink: $!";

    for ("ip6 daddr $PEER6", "ip daddr $PEER4", 'ip daddr 10.244.2.0/24') {
        must(split ' ', "nft insert rule inet mesh_test output meta skuid"
                        . " $UID $_ meta l4proto tcp redirect to :4243");
    }

    must(split ' ', "nft insert rule inet mesh_test output meta skuid"
                    . " $PEER_UID return");

    return $peer;
}


sub dir { return $_[0]{dir} }


sub run_command {
    my (@command) = @_;

    my $pid = open my $out, '-|';
    die "fork: $!" if !defined $pid;

    if (!$pid) {
        open STDERR, '>&', \*STDOUT;
        exec @command or die "$command[0]: $!";
    }

    my $text = join '', <$out>;
    close $out;

    return ($? >> 8, $text);
}


sub must {
    my ($rc, $text) = run_command(@_);

    die "@_: exit $rc: $text" if $rc;

    return $text;
}


sub setup_network {
    must(qw(ip link set lo up));
    must(qw(ip addr add), "$POD4/32", qw(dev lo));

    # what is listened on: a local route is not enough for IPv6

    for ($POD6, map { "fd00:244:1::$_" } 9 .. 11) {
        must(qw(ip -6 addr add), "$_/128", qw(dev lo nodad));
    }

    for my $net ('10.0.0.0/8', '203.0.113.0/24') {
        must(qw(ip route add local), $net, qw(dev lo src), $POD4);
    }

    must(qw(ip -6 route add local fd00::/8 dev lo src), $POD6);

    my $rules = <<END;
table inet mesh_test {
    chain output {
        type nat hook output priority -100; policy accept;
        meta skuid $UID return
        ip daddr 127.0.0.0/8 return
        ip6 daddr ::1 return
        ip daddr $POD4 meta l4proto tcp redirect to :4143
        ip6 daddr $POD6 meta l4proto tcp redirect to :4143
        ip daddr 10.0.0.0/8 meta l4proto tcp redirect to :4140
        ip daddr 203.0.113.0/24 meta l4proto tcp redirect to :4140
        ip6 daddr fd00::/8 meta l4proto tcp redirect to :4140
        ip daddr 192.0.2.1 tcp dport 4140 redirect to :4140
        ip daddr 192.0.2.1 tcp dport 4143 redirect to :4143
    }
}
END

    must(qw(ip route add local 192.0.2.0/24 dev lo src), $POD4);
    open my $nft, '|-', 'nft', '-f', '-' or die "nft: $!";
    print $nft $rules;
    close $nft or die "nft: rules are refused";
}


# certificates

sub new_ca {
    my ($self, $name) = @_;
    my $ca = "$self->{dir}/ca";

    must(qw(openssl req -x509 -newkey ec -pkeyopt
            ec_paramgen_curve:prime256v1 -nodes -days 30 -subj), "/CN=$name",
         '-keyout', "$ca/$name.key", '-out', "$ca/$name.crt", '-addext',
         'basicConstraints=critical,CA:TRUE', '-addext',
         'keyUsage=critical,keyCertSign,cRLSign');

    return "$ca/$name.crt";
}


# new_cert(name, ca => 'root', san => [..], start => '20200101000000Z',
# end => ..): NAME.pem and NAME.key in dir/ca; san by default is the identity
# of service account NAME in namespace shop

sub new_cert {
    my ($self, $name, %opt) = @_;
    my $ca = "$self->{dir}/ca";
    my $by = $opt{ca} // 'root';
    my @san = @{$opt{san} // [spiffe($name)]};
    my $i = 0;

    must(qw(openssl req -new -newkey ec -pkeyopt
            ec_paramgen_curve:prime256v1 -nodes -subj), "/O=$name",
         '-keyout', "$ca/$name.key", '-out', "$ca/$name.csr");

    spew("$ca/index.txt", '');
    spew("$ca/ca.conf", <<END . join '', map { $i++; "URI.$i = $_\n" } @san);
[ca]
default_ca = d
[d]
new_certs_dir = $ca
database = $ca/index.txt
rand_serial = yes
default_md = sha256
policy = p
unique_subject = no
x509_extensions = x
[p]
organizationName = optional
[x]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = serverAuth,clientAuth
@{[@san ? 'subjectAltName = critical,@s' : '']}
[s]
END

    must(qw(openssl ca -batch -notext -config), "$ca/ca.conf",
         '-cert', "$ca/$by.crt", '-keyfile', "$ca/$by.key",
         '-in', "$ca/$name.csr", '-out', "$ca/$name.pem",
         '-startdate', $opt{start} // stamp(time - 3600),
         '-enddate', $opt{end} // stamp(time + 86400));

    return ("$ca/$name.pem", "$ca/$name.key");
}


sub spiffe {
    my ($name) = @_;

    return "spiffe://cluster.local/ns/shop/sa/$name";
}


sub stamp {
    return POSIX::strftime('%Y%m%d%H%M%SZ', gmtime $_[0]);
}


# takes a certificate of new_cert into use as mesh-agent does: a directory of
# its own, and "current" renamed over the last one; trust is a list of CAs

sub use_cert {
    my ($self, $name, %opt) = @_;
    my $ca = "$self->{dir}/ca";
    my $identity = "$self->{dir}/run/identity";
    my $epoch = ++$self->{epoch};
    my $key = $opt{key} // $name;

    make_path("$identity/$epoch");
    spew("$identity/$epoch/cert.pem", slurp("$ca/$name.pem"));
    spew("$identity/$epoch/key.pem", slurp("$ca/$key.key"));
    spew("$identity/$epoch/trust.pem",
         join '', map { slurp("$ca/$_.crt") } @{$opt{trust} // ['root']});
    $self->own();

    unlink "$identity/next";
    symlink $epoch, "$identity/next" or die "symlink: $!";
    rename "$identity/next", "$identity/current" or die "rename: $!";

    return $epoch;
}


# a shop, as text: web is this pod; cart has a sidecar, old has none, both
# have pods at 10.244.1.9, .10, .11 and fd00:244:1::9; each service has a port
# 80 for HTTP/1, 90 that nobody declared, 6379 opaque, 443 the application's
# own TLS.  Options: generation, complete, unknown, self => 'cart', and extra
# text.

sub shop {
    my (%opt) = @_;
    my $generation = $opt{generation} // 1;
    my $complete = $opt{complete} // 'on';
    my $unknown = $opt{unknown} // 'refuse';
    my $self = $opt{self} // 'web';
    my $extra = $opt{extra} // '';
    my @ports = ([80, 8080, 'http1'], [90, 9090, 'detect'],
                 [443, 8443, 'tls'], [6379, 6379, 'opaque']);
    my ($pods, $services) = ('', '');

    for (['cart', 9, '10.96.14.7', 'fd00:96::7'],
         ['old', 10, '10.96.14.8', 'fd00:96::8'])
    {
        my ($name, $n, $vip4, $vip6) = @$_;
        my $meshed = $name eq 'cart'
                   ? 'identity ' . spiffe($name) . '; meshed on;' : '';

        $pods .= "mesh_workload shop/$name-1 { $meshed service_account $name;"
               . " address 10.244.1.$n; address fd00:244:1::$n;"
               . " owner deployment/$name; node n1; zone a; }\n";

        for (@ports) {
            my ($port, $target, $protocol) = @$_;
            my @pods = ("10.244.1.$n:$target", "[fd00:244:1::$n]:$target");

            @pods = ($pods[0]) if $port != 80;

            $services .= "mesh_service shop/$name:$port {"
                       . " address $vip4:$port; address [$vip6]:$port;"
                       . " protocol $protocol;"
                       . join('', map { " endpoint $_ workload=shop/$name-1;" }
                                  @pods)
                       . " }\n";
        }
    }

    return <<END;
generation $generation;
complete $complete;
unknown_in_cluster $unknown;
trust_domain cluster.local;
networks 10.0.0.0/8 fd00::/8;
self shop/$self-1;

mesh_workload shop/web-1 {
    identity @{[spiffe('web')]};
    meshed on;
    service_account web;
    address 10.244.0.5;
    address fd00:244::5;
    owner deployment/web;
    node n1;
    zone a;
    port 8080 http1;
    port 6379 opaque;
}

$pods
$services
mesh_service shop/empty:80 { address 10.96.14.9:80; protocol http1; }

nobody 10.96.14.99:80;

$extra
END
}


# what this sidecar and its peer know when both play: services two:PORT have
# the ports of a shop and two endpoints, both behind the peer

sub pair {
    my (%opt) = @_;
    my $extra = $opt{extra} // '';
    my $cart = spiffe('cart');
    my $workload = "mesh_workload shop/cart-2 { identity $cart; meshed on;"
                 . " service_account cart; address 10.244.2.9;"
                 . " owner deployment/cart; }\n";
    my $services = '';

    for ([80, 8080, 'http1'], [90, 9090, 'detect'], [6379, 6379, 'opaque']) {
        my ($port, $target, $protocol) = @$_;

        $services .= "mesh_service shop/two:$port {"
                   . " address 10.96.16.2:$port; protocol $protocol;"
                   . " endpoint $PEER4:$target workload=shop/cart-1;"
                   . " endpoint 10.244.2.9:$target workload=shop/cart-2; }\n";
    }

    my $peer = "generation 1; complete on; trust_domain cluster.local;\n"
             . "networks 10.0.0.0/8 fd00::/8; self shop/cart-1;\n"
             . "mesh_workload shop/cart-1 { identity $cart; meshed on;"
             . " service_account cart; address $PEER4; address $PEER6;"
             . " owner deployment/cart; }\n";

    return (shop(extra => $workload . $services . $extra), $peer);
}


# this sidecar and its peer, started; options as those of start, and extra
# for the state of the first one

sub start_pair {
    my ($self, %opt) = @_;
    my $peer = $self->peer();
    my @states = pair(%opt);

    $self->new_cert($_) for qw(web cart);

    for ($self, $peer) {
        $_->use_cert($_ == $self ? 'web' : 'cart');
        $_->state(shift @states);
        $_->start(%opt);
    }

    return $peer;
}


# the state, as text

sub state {
    my ($self, $text) = @_;
    my $dir = $self->{dir};

    spew("$dir/state.mesh", $text);
    must("$build/meshctl", 'state', 'compile', "$dir/state.mesh", '-o',
         "$dir/state.new");
    $self->put_state(slurp("$dir/state.new"));
}


sub put_state {
    my ($self, $bytes) = @_;
    my $run = "$self->{dir}/run";

    spew("$run/state.new", $bytes);
    rename "$run/state.new", "$run/state" or die "rename: $!";
}


sub own {
    my ($self) = @_;

    must('chown', '-R', "$self->{uid}:$self->{uid}", "$self->{dir}/run");
}


# conf/mesh.conf with this test's paths.  Options: workers; main, http, stream
# are added to these blocks; edit is called with the text in $_.

sub conf {
    my ($self, %opt) = @_;
    my $dir = $self->{dir};
    my $workers = $opt{workers} // 1;

    local $_ = slurp("$root/conf/mesh.conf");

    s{modules/ngx_stream_module}{$modules/ngx_stream_module};
    s{modules/ngx_mesh_module\.so}{$module};
    s{/run/mesh/}{$dir/run/}g;
    s{include  transparent\.conf}{include  $dir/transparent.conf};
    s{worker_processes .*}{worker_processes $workers;};
    s{error_log .*}{error_log $dir/error.log info;};

    if ($self->{uid} != $UID) {
        s{:4(14[03]|191)\b}{':4' . ($1 + 100)}ge;
        s{/sa/web;}{/sa/cart;};
    }

    s{^events}{$opt{main}\n\nevents}m if $opt{main};
    s{^http \{\n}{http \{\n$opt{http}\n}m if $opt{http};
    s{^stream \{\n}{stream \{\n$opt{stream}\n}m if $opt{stream};

    if (!-f "$modules/ngx_stream_module.so") {
        s{^load_module .*ngx_stream_module.*\n}{}m;
    }

    $opt{edit}->() if $opt{edit};

    # a copy: the sidecar's uid may not enter the tree's directory

    spew("$dir/transparent.conf", slurp("$root/conf/transparent.conf"));
    spew("$dir/nginx.conf", $_);
    $self->own();

    return $_;
}


sub nginx_command {
    my ($self) = @_;

    return ('setpriv', "--reuid=$self->{uid}", "--regid=$self->{uid}",
            '--clear-groups', $binary, '-p', "$self->{dir}/run", '-c',
            "$self->{dir}/nginx.conf", '-e', "$self->{dir}/error.log");
}


# nginx -t: exit code and what it said

sub check_conf {
    my ($self, %opt) = @_;

    $self->conf(%opt);
    spew("$self->{dir}/error.log", '');
    chown $self->{uid}, $self->{uid}, "$self->{dir}/error.log";

    return run_command($self->nginx_command(), '-t');
}


sub start {
    my ($self, %opt) = @_;
    my $log = "$self->{dir}/error.log";

    $self->use_cert($opt{cert} // 'web') if !$self->{epoch};
    $self->conf(%opt);
    spew($log, '');
    chown $self->{uid}, $self->{uid}, $log;

    my $pid = fork // die "fork: $!";

    if (!$pid) {
        open STDOUT, '>>', $log;
        open STDERR, '>>', $log;
        exec $self->nginx_command() or die "nginx: $!";
    }

    $self->{pid} = $pid;

    $self->wait_for('nginx answers', sub {
        if (waitpid($pid, WNOHANG) == $pid) {
            delete $self->{pid};
            die "nginx does not start:\n" . slurp($log);
        }

        return eval { $self->get($self->{admin}, '/live') };
    });

    return $self;
}


sub stop {
    my ($self, $signal) = @_;
    my $pid = delete $self->{pid} or return;

    kill $signal // 'TERM', $pid;
    waitpid $pid, 0;

    return $? >> 8;
}


# waits for new workers, and that the old ones are gone unless opt{old}

sub reload {
    my ($self, %opt) = @_;
    my @old = $self->workers();

    kill 'HUP', $self->{pid};

    $self->wait_for('new workers', sub {
        my %old = map { $_ => 1 } @old;
        my @now = $self->workers();

        return (grep { !$old{$_} } @now)
               && ($opt{old} || !grep { $old{$_} } @now);
    });
}


sub workers {
    my ($self) = @_;
    my $children = slurp("/proc/$self->{pid}/task/$self->{pid}/children");

    my @workers = sort { $a <=> $b } split ' ', $children;

    return @workers;
}


# condition is called until it is true, for 10 seconds at most

sub wait_for {
    my ($self, $what, $condition) = @_;
    my $end = time + 10;

    while (time < $end) {
        my $value = $condition->();
        return $value if $value;
        sleep 0.02;
    }

    Test::More::diag("waited in vain: $what\n" . $self->error_log());
    return;
}


sub error_log { return slurp("$_[0]{dir}/error.log") }


# what else plays a part: see MeshApp

sub app {
    my ($self, $type, $address, %opt) = @_;
    my $app = MeshApp->new($type, $address,
                                          dir => $self->{dir}, %opt);
    push @{$self->{apps}}, $app;

    return $app;
}


# clients: plain by default; cert or alpn make it a sidecar's mesh TLS, sni an
# application's own TLS

sub connect {
    my ($self, $address, %opt) = @_;
    my ($host, $port) = $address =~ /^\[?(.*?)\]?:(\d+)$/ or die $address;

    my $s = IO::Socket::IP->new(PeerHost => $host, PeerPort => $port,
                                Type => SOCK_STREAM, Timeout => 5)
        or die "connect to $address: $@\n";

    $s->setsockopt(IPPROTO_TCP, TCP_NODELAY, 1);

    return $s if !$opt{cert} && !$opt{alpn} && !$opt{sni};

    my $ca = "$self->{dir}/ca";
    my %cert = !$opt{cert} ? () : (
        SSL_cert_file => "$ca/$opt{cert}.pem",
        SSL_key_file => "$ca/$opt{cert}.key",
    );

    my %what = $opt{sni} ? (SSL_hostname => $opt{sni}) : (
        SSL_hostname => '',
        SSL_alpn_protocols => ['mesh/1', $opt{alpn} // 'http/1.1'],
    );

    IO::Socket::SSL->start_SSL($s, %cert, %what,
        SSL_ca_file => "$ca/" . ($opt{ca} // 'root') . '.crt',
        SSL_verifycn_scheme => 'none',
    ) or die 'TLS: ' . IO::Socket::SSL::errstr() . "\n";

    return $s;
}


# one request on a new connection, or on opt{socket}; dies when there is no
# answer

sub get {
    my ($self, $address, $path, %opt) = @_;
    my $s = $opt{socket} // $self->connect($address, %opt);
    my $method = $opt{method} // 'GET';
    my $body = $opt{body} // '';
    my $headers = $opt{headers} // '';
    my $host = $opt{host} // 'localhost';

    $headers .= 'Content-Length: ' . length($body) . "\r\n" if length $body;
    $headers .= "Connection: close\r\n" if !$opt{socket};

    write_all($s, "$method $path HTTP/1.1\r\nHost: $host\r\n$headers\r\n"
                  . $body);

    return read_response($s, $method);
}


sub write_all {
    my ($s, $text) = @_;

    local $SIG{PIPE} = 'IGNORE';

    while (length $text) {
        my $n = $s->syswrite($text) // die "write: $!\n";
        substr $text, 0, $n, '';
    }
}


# reads up to max bytes, or to the end; at most 10 seconds

sub read_some {
    my ($s, $max) = @_;
    my $text = '';

    local $SIG{ALRM} = sub { die "no answer within 10 s\n" };
    alarm 10;

    while (length $text < $max) {
        my $n = $s->sysread(my $part, $max - length $text);
        last if !$n;
        $text .= $part;
    }

    alarm 0;

    return $text;
}


sub read_response {
    my ($s, $method) = @_;
    my $head = '';

    while ($head !~ /\r\n\r\n\z/) {
        my $c = read_some($s, 1);
        die "connection ended in the header: \"$head\"\n" if $c eq '';
        $head .= $c;
    }

    my ($status) = $head =~ m{^HTTP/1\.\d (\d+)} or die "not HTTP: $head";
    my %headers;

    for (split /\r\n/, $head) {
        $headers{lc $1} = $2 if /^([^:]+):\s*(.*)/;
    }

    my $body = '';

    if (($method // 'GET') eq 'HEAD' || $status =~ /^(?:1..|204|304)$/) {
        $body = '';

    } elsif (defined $headers{'content-length'}) {
        $body = read_some($s, $headers{'content-length'});

    } elsif (($headers{'transfer-encoding'} // '') eq 'chunked') {
        while (1) {
            my $line = '';
            $line .= read_some($s, 1) while $line !~ /\n/;
            my $n = hex $line =~ s/\s+$//r;
            $body .= read_some($s, $n);
            read_some($s, 2);
            last if !$n;
        }

    } else {
        $body = read_some($s, 1 << 30);
    }

    return { status => $status, headers => \%headers, body => $body,
             head => $head };
}


# all metrics: name{labels} => value

sub metrics {
    my ($self) = @_;
    my %value;

    for (split /\n/, $self->get($self->{admin}, '/metrics')->{body}) {
        next if !/^([^#].*) (\S+)$/;
        die "told twice: $1\n" if exists $value{$1};
        $value{$1} = $2;
    }

    return \%value;
}


# sum of all series of name whose labels have all of these
# (label => 'value')

sub metric {
    my ($self, $name, %labels) = @_;
    my $metrics = $self->metrics();
    my $sum = 0;

    SERIES:
    for my $series (keys %$metrics) {
        next if $series !~ /^\Q$name\E(?:\{|$)/;

        for (keys %labels) {
            next SERIES if $series !~ /[{,]$_="\Q$labels{$_}\E"[,}]/;
        }

        $sum += $metrics->{$series};
    }

    return $sum;
}


sub slurp {
    my ($path) = @_;

    open my $in, '<:raw', $path or die "$path: $!";
    local $/;

    return <$in> // '';
}


sub spew {
    my ($path, $text) = @_;

    open my $out, '>:raw', $path or die "$path: $!";
    print $out $text;
    close $out or die "$path: $!";
}


END {
    my $status = $?;

    $_->stop() for @objects;

    for my $self (@objects) {
        $_->stop() for @{$self->{apps}};

        my $log = -f "$self->{dir}/error.log" ? $self->error_log() : '';
        my @crashes = grep { /$crash/ } split /^/, $log;

        if (@crashes) {
            Test::More::diag("nginx broke down:\n@crashes");
            $status ||= 1;
        }

        Test::More::diag($log)
            if $status || !Test::More->builder->is_passing;

        remove_tree($self->{dir})
            if $self->{temporary} && !$ENV{MESH_TEST_KEEP};
    }

    $? = $status;
}


1;
