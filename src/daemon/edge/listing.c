#include "daemon/edge/listing.h"

struct walk {
    const struct listing *listing;
    struct json_writer *w;
    int64_t generation;
};

static void write_one(struct edge *edge, const struct edge_route *route, void *data)
{
    const struct walk *walk = data;

    walk->listing->write(walk->w, edge, route, walk->generation);
}

static void answer(struct request *request)
{
    struct sandbox *sandbox = request_find_sandbox(request);
    struct walk walk = { .listing = request->state, .w = request_json(request) };

    if (!walk.w)
        return;
    if (sandbox && sandbox->state == SANDBOX_RUNNING)
        walk.generation = sandbox->row.generation;
    json_object_begin(walk.w);
    json_key(walk.w, walk.listing->key);
    json_array_begin(walk.w);
    edge_each(request->daemon->edge, request->sandbox_id, write_one, &walk);
    json_array_end(walk.w);
    json_object_end(walk.w);
    request_respond_json(request, 200, walk.w);
}

void edge_list(struct request *request, const struct listing *listing)
{
    request->state = (void *)(uintptr_t)listing;
    request_need_adoption(request, answer);
}
