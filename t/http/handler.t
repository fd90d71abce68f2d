# mesh_metrics alone: the content handler in an nginx that is no sidecar.

BEGIN {
    my $build = $ENV{MESH_BUILD} // 'build';

    $ENV{TEST_NGINX_MODULE_SO} //= "$build/ngx_mesh_module.so";
    $ENV{TEST_NGINX_SERVROOT} //= "/tmp/mesh-servroot-$$";
}

use Cwd qw(abs_path);
use Test::Nginx::Socket 'no_plan';

my $stream = '/usr/lib/nginx/modules/ngx_stream_module.so';
my $module = abs_path($ENV{TEST_NGINX_MODULE_SO});
my $load = -f $stream ? "load_module $stream;\n" : '';

add_block_preprocessor(sub {
    my ($block) = @_;
    my $main = $block->main_config // '';

    $block->set_value(main_config =>
                      "${load}load_module $module;\n$main");
});

no_long_string();
run_tests();

__DATA__

=== metrics of the zone
--- main_config
mesh_zone mesh:1m;
--- config
location = /metrics {
    mesh_metrics;
}
--- request
GET /metrics
--- response_headers
Content-Type: text/plain; version=0.0.4; charset=utf-8
--- response_body_like
# TYPE mesh_build_info gauge
mesh_build_info\{nginx="[\d.]+",.*"\} 1
(?s:.*)# TYPE mesh_state_generation gauge
mesh_state_generation\{pid="\d+"\} 0
(?s:.*)mesh_want_total 0
(?s:.*)mesh_zone_series 0
--- error_code: 200


=== requests that are not of the mesh are not counted
--- main_config
mesh_zone mesh:1m;
--- config
location = /metrics {
    mesh_metrics;
}
location = /other {
    return 200 "other\n";
}
--- pipelined_requests eval
['GET /other', 'GET /metrics']
--- response_body_like eval
['other', '(?s)\A(?!.*request_total)']


=== without a zone
--- config
location = /metrics {
    mesh_metrics;
}
--- request
GET /metrics
--- response_body_like
\A# HELP mesh_build_info .*
# TYPE mesh_build_info gauge
mesh_build_info\{.*\} 1
--- response_body_unlike: mesh_want_total
--- error_code: 200


=== HEAD
--- main_config
mesh_zone mesh:1m;
--- config
location = /metrics {
    mesh_metrics;
}
--- request
HEAD /metrics
--- response_body
--- error_code: 200


=== other methods
--- config
location = /metrics {
    mesh_metrics;
}
--- request
DELETE /metrics
--- response_body_like: 405 Not Allowed
--- error_code: 405
