
/*
 * Copyright (C) ngx-mesh authors
 */


#ifndef _MESH_NAMES_H_INCLUDED_
#define _MESH_NAMES_H_INCLUDED_

/*
 * Every name and number that crosses a process: module, agent, controller.
 * No code.
 */


/* ports and uid */

#define MESH_PORT_OUTBOUND        4140
#define MESH_PORT_INBOUND         4143
#define MESH_PORT_CONTROL         4190
#define MESH_PORT_ADMIN           4191
#define MESH_UID                  2102


/*
 * The probe addresses of conf/redirect.nft (RFC 5737, RFC 3849): redirected
 * for every uid, the sidecar's too, 4140 to the outbound listener and 4143
 * to the inbound one.  The module answers a connection whose original
 * destination is one of them with MESH_PROBE_OUTBOUND or MESH_PROBE_INBOUND
 * and closes it: whoever reads the word knows that the redirect works.
 */

#define MESH_PROBE_IP4            "192.0.2.1"
#define MESH_PROBE_IP6            "2001:db8::1"
#define MESH_PROBE_OUTBOUND       "outbound\n"
#define MESH_PROBE_INBOUND        "inbound\n"


/* the sidecar's directory (tmpfs, seen by it alone) */

#define MESH_RUN_DIR              "/run/mesh"
#define MESH_RUN_STATE            "state"
#define MESH_RUN_IDENTITY         "identity/current"
#define MESH_RUN_AGENT_SOCK       "agent.sock"    /* datagrams from workers */
#define MESH_RUN_ADMIN_SOCK       "admin.sock"    /* HTTP, behind nginx 4191 */
#define MESH_RUN_REDIS_SOCK       "redis.sock"    /* nginx: mTLS to Redis */


/*
 * Datagrams of workers to agent.sock, one line of text each:
 *
 *     want 10.96.14.7:80                   address unknown: connections wait
 *     used 10.96.14.7:80                   known and used within a minute
 *     state 17 ok                          snapshot 17 is in use by the worker
 *     state 18 refused checksum does ..    and what is wrong with it
 *     identity 3 ok                        the pair under identity/3 is in use
 *     identity 4 refused key does not ..
 *
 * v6 addresses are bracketed.  A lost datagram is sent again: "want" every
 * 100 ms while a connection waits, "used" every minute.
 */

#define MESH_AGENT_DATAGRAM_MAX   512


/* TLS between sidecars: ALPN mesh/1 and the inner protocol */

#define MESH_ALPN                 "mesh/1"
#define MESH_ALPN_HTTP1           "http/1.1"
#define MESH_ALPN_HTTP2           "h2"
#define MESH_ALPN_TCP             "mesh-tcp"


/*
 * On the answer of a sidecar that could not reach its application: the
 * address that it tried.  Never an application's.
 */

#define MESH_HEADER_UNREACHED     "mesh-unreached"


/* identities of the system */

#define MESH_SYSTEM_NAMESPACE     "ngx-mesh"
#define MESH_TRUST_DOMAIN         "cluster.local"
#define MESH_SA_IDENTITY          "mesh-identity"
#define MESH_SA_WATCH             "mesh-watch"
#define MESH_SA_REDIS             "mesh-redis"


/* labels and annotations */

#define MESH_LABEL_INJECT         "ngx-mesh.io/inject"
#define MESH_ANNOTATION_OPAQUE    "ngx-mesh.io/opaque-ports"


/* Redis */

#define MESH_REDIS_EPOCH          "mesh:epoch"
#define MESH_REDIS_SIGNER         "mesh:signer"
#define MESH_REDIS_SYNCED         "mesh:synced"
#define MESH_REDIS_GENS           "mesh:gens"
#define MESH_REDIS_VIP            "mesh:vip:"     /* <ip>:<port> */
#define MESH_REDIS_IP             "mesh:ip:"      /* <ip> */
#define MESH_REDIS_SVC            "mesh:svc:"     /* <ns>/<name> */
#define MESH_REDIS_WL             "mesh:wl:"      /* <ns>/<pod> */
#define MESH_REDIS_CHANNEL        "mesh:ch:"      /* <key> */


/* ports that skip detection unless declared otherwise (DESIGN, no stall) */

#define MESH_OPAQUE_PORTS                                                     \
    { 25, 587, 3306, 4444, 5432, 6379, 9300, 11211, 27017, 0 }


/* clusterNetworks by default */

#define MESH_CLUSTER_NETWORKS                                                 \
    "10.0.0.0/8 100.64.0.0/10 172.16.0.0/12 192.168.0.0/16 fd00::/8"


/* limits that both sides must agree on */

#define MESH_ID_MAX_BYTES         2048     /* SPIFFE ID, standard section 2.3 */


#endif /* _MESH_NAMES_H_INCLUDED_ */
