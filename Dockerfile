# One image tree for everything: build -> test, build -> sidecar -> control.
# The base image's own apt sources are used.

FROM debian:12 AS build
WORKDIR /src
COPY . .
RUN auto/setup build && auto/build


# what needs no network namespaces of the host's kernel; the rest of the
# families runs with auto/test on a machine, as root

FROM build AS test
RUN auto/setup test && auto/test check unit prove


# every meshed pod: nginx, the module, the agent

FROM debian:12-slim AS sidecar
RUN apt-get update \
    && apt-get install -y --no-install-recommends nginx libnginx-mod-stream \
           libevent-2.1-7 libevent-openssl-2.1-7 libhiredis0.14 libjansson4 \
           libssl3 nftables \
    && rm -rf /var/lib/apt/lists/* /etc/nginx/sites-enabled/default
COPY --from=build /src/build/ngx_mesh_module.so /usr/lib/nginx/modules/
COPY --from=build /src/build/mesh-agent /usr/local/bin/
COPY --from=build /src/conf/transparent.conf /src/conf/nginx.conf.tmpl \
     /src/conf/redirect.nft /etc/ngx-mesh/
USER 2102:2102
ENTRYPOINT ["/usr/local/bin/mesh-agent", "init"]


# the control plane: the same, and meshd and meshctl

FROM sidecar AS control
USER root
RUN apt-get update \
    && apt-get install -y --no-install-recommends libyaml-0-2 \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /src/build/meshd /src/build/meshctl /usr/local/bin/
USER 2102:2102
ENTRYPOINT ["/usr/local/bin/meshd"]
