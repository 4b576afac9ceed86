/* methods.h - the namespaces and their methods. */
#pragma once

#include "exchange.h"

/* The object that a client can call; it lasts. */
struct capnweb_target *rpc_main(void);

/* What is not a route, or not just one. Each answers the call. */
void rpc_read_file(struct capnweb_call *call);
void rpc_write_file_stream(struct capnweb_call *call);
void rpc_run_code_stream(struct capnweb_call *call);
void rpc_ensure_tunnel_run(struct capnweb_call *call);
void rpc_stop_tunnel_run(struct capnweb_call *call);
void rpc_run_quick_tunnel(struct capnweb_call *call);
void rpc_run_named_tunnel(struct capnweb_call *call);
void rpc_destroy_tunnel(struct capnweb_call *call);
void rpc_list_tunnels(struct capnweb_call *call);
