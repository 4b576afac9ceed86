/*
 * import.c - what the peer has given us: objects, and results of our calls.
 *
 * An import is released at the peer when the last reference goes or, a result, as soon as it is there. The memory
 * stays for as long as anything points to it.
 */
#include "internal.h"

struct cw_import *cw_import_get(struct capnweb_session *s, int64_t id)
{
    return id_table_get(&s->imports, id);
}

int cw_import_add(struct capnweb_session *s, struct cw_import *entry)
{
    if (s->ended || s->imports.count >= s->limits.max_entries)
        return -1;
    return id_table_put(&s->imports, entry->id, entry);
}

static void unref_memory(struct capnweb_import *import, unsigned count)
{
    struct capnweb_session *s = import->session;

    import->memory_refs -= count;
    if (import->memory_refs > 0)
        return;
    capnweb_promise_unref(import->result);
    free(import);
    cw_session_unref(s);
}

static void run_done(struct cw_task *task)
{
    struct capnweb_import *import = container_of(task, struct capnweb_import, task);

    if (import->refs > 0 && import->done)
        import->done(import, import->result->state == CW_RESOLVED, cw_promise_value(import->result), import->data);
    unref_memory(import, 1);
}

/* In the table, with one reference. */
static struct capnweb_import *new_import(struct capnweb_session *s, enum cw_import_kind kind, int64_t id)
{
    struct capnweb_import *import = calloc(1, sizeof(*import));

    if (!import)
        return NULL;
    *import = (struct capnweb_import){ .entry = { kind, id },
                                       .session = s,
                                       .refs = 1,
                                       .memory_refs = 2,
                                       .remote_refs = 1,
                                       .in_table = true,
                                       .task = { .run = run_done } };
    if (kind == CW_CALL || kind == CW_PROMISED)
        import->result = cw_promise_new(s, 1);
    if ((kind == CW_CALL || kind == CW_PROMISED) && !import->result) {
        free(import);
        return NULL;
    }
    if (cw_import_add(s, &import->entry) < 0) {
        capnweb_promise_unref(import->result);
        free(import);
        return NULL;
    }
    cw_session_ref(s);
    return import;
}

static void leave_table(struct capnweb_import *import)
{
    import->in_table = false;
    id_table_remove(&import->session->imports, import->entry.id);
    cw_send_release(import->session, import->entry.id, import->remote_refs);
}

struct capnweb_import *capnweb_import_ref(struct capnweb_import *import)
{
    import->refs++;
    return import;
}

void capnweb_import_unref(struct capnweb_import *import)
{
    bool was_in_table;

    if (!import || --import->refs > 0)
        return;
    was_in_table = import->in_table;
    if (was_in_table)
        leave_table(import);
    if (import->result && import->result->state == CW_PENDING && was_in_table)
        cw_promise_reject(import->result, "Error", "RPC was canceled because the RpcPromise was disposed.");
    unref_memory(import, was_in_table ? 2 : 1);
}

struct capnweb_import *capnweb_main(struct capnweb_session *session)
{
    return session->main;
}

/* Ids go down with each object that the peer makes, but one object may be given more than once. */
struct capnweb_import *cw_import_object(struct capnweb_session *s, int64_t id, bool is_promise)
{
    struct cw_import *entry = cw_import_get(s, id);
    struct capnweb_import *import;

    if (entry) {
        import = container_of(entry, struct capnweb_import, entry);
        if (entry->kind != CW_STUB || is_promise || import->remote_refs == INT64_MAX) {
            cw_fatal(s, "Error", "The peer sent a promise reusing an existing export ID.");
            return NULL;
        }
        import->remote_refs++;
        return capnweb_import_ref(import);
    }
    import = new_import(s, is_promise ? CW_PROMISED : CW_STUB, id);
    if (!import)
        cw_fatal(s, "RangeError", "too many objects");
    return import;
}

/* --- calls --- */

static void write_args(struct capnweb_session *s, struct json_writer *w, const struct capnweb_value *args,
                       size_t count)
{
    json_array_begin(w);
    for (size_t i = 0; i < count; i++)
        cw_write_value(s, w, &args[i], 1);
    json_array_end(w);
}

static struct capnweb_import *send_call(struct capnweb_session *s, int64_t target, struct cw_path path,
                                        const struct cw_payload *args, bool is_read)
{
    struct capnweb_import *import = new_import(s, CW_CALL, s->next_out);
    struct cw_message message;

    if (!import)
        return NULL;
    cw_message_begin(s, &message, "push");
    json_array_begin(&message.w);
    json_cstring(&message.w, "pipeline");
    json_int(&message.w, target);
    cw_write_path(&message.w, path);
    if (!is_read)
        write_args(s, &message.w, args->value.array.items, args->value.array.count);
    json_array_end(&message.w);
    if (cw_message_finish(s, &message) > 0) {
        s->next_out++;
        return import;
    }
    import->in_table = false; /* the peer has not heard of it */
    id_table_remove(&s->imports, import->entry.id);
    import->memory_refs = 1;
    capnweb_import_unref(import);
    return NULL;
}

struct capnweb_import *cw_import_call(struct capnweb_session *s, int64_t target, struct cw_path path,
                                      const struct capnweb_value *args, size_t arg_count, bool is_read)
{
    struct cw_payload *payload = s->ended ? NULL : cw_payload_new(s, NULL);
    struct capnweb_import *import = NULL;

    if (!payload) {
        for (size_t i = 0; i < arg_count; i++)
            cw_discard(s, &args[i]);
        return NULL;
    }
    payload->value.type = CAPNWEB_ARRAY;
    if (!is_read && arg_count > 0) {
        memcpy(&payload->value.array.items, &args, sizeof(args)); /* only read from */
        payload->value.array.count = arg_count;
    }
    if (cw_payload_collect(payload) == 0) {
        cw_open_pipes(payload);
        import = send_call(s, target, path, payload, is_read);
        if (!import)
            cw_lose_pipes(payload);
    } else {
        cw_discard(s, &payload->value);
    }
    cw_payload_unref(payload);
    return import;
}

struct capnweb_import *capnweb_call_start(struct capnweb_import *target, const struct capnweb_key *path,
                                          size_t path_count, const struct capnweb_value *args, size_t arg_count)
{
    struct cw_path rest = { path, path_count };
    struct capnweb_value value;
    struct cw_ref object;

    if (target->in_table)
        return cw_import_call(target->session, target->entry.id, rest, args, arg_count, !args);
    /* A result that is there: perhaps it is, or has in it, an object of the peer. */
    if (!target->result || target->result->state != CW_RESOLVED ||
        cw_follow(cw_promise_value(target->result), &rest, &object, &value) != 1 || object.kind != CW_IMPORT)
        return NULL;
    return capnweb_call_start(object.object, rest.keys, rest.count, args, arg_count);
}

void capnweb_pull(struct capnweb_import *import,
                  void (*done)(struct capnweb_import *import, bool ok, const struct capnweb_value *value,
                               void *data),
                  void *data)
{
    if (!import->result || import->pulled)
        return;
    import->pulled = true;
    import->done = done;
    import->data = data;
    import->memory_refs++;
    if (import->entry.kind == CW_CALL && import->in_table)
        cw_send_pull(import->session, import->entry.id);
    if (import->result->state == CW_PENDING)
        cw_queue_push(&import->result->waiters, &import->task);
    else
        cw_enqueue(import->session, &import->task);
}

/* --- what the peer says --- */

void cw_import_settle(struct capnweb_session *s, struct cw_import *entry, bool ok, struct cw_payload *payload)
{
    struct capnweb_import *import;

    if (entry->kind == CW_WRITE) {
        struct cw_write *write = container_of(entry, struct cw_write, entry);
        id_table_remove(&s->imports, entry->id);
        cw_pipe_acknowledged(write->pipe, write, ok, payload);
        cw_payload_unref(payload);
        return;
    }
    if (entry->kind != CW_CALL && entry->kind != CW_PROMISED) { /* nothing that could be settled */
        cw_payload_unref(payload);
        return;
    }
    import = container_of(entry, struct capnweb_import, entry);
    leave_table(import);
    if (ok)
        cw_promise_settle_when_complete(import->result, payload);
    else
        cw_promise_settle(import->result, false, payload);
    unref_memory(import, 1);
}

void cw_import_lost(struct capnweb_session *s, struct cw_import *entry)
{
    struct capnweb_import *import;

    if (entry->kind == CW_WRITE) {
        struct cw_write *write = container_of(entry, struct cw_write, entry);
        cw_pipe_unref(write->pipe);
        free(write);
        return;
    }
    if (entry->kind == CW_PIPE_END) {
        cw_pipe_lost(cw_pipe_of(entry), s->end_message);
        return;
    }
    import = container_of(entry, struct capnweb_import, entry);
    import->in_table = false;
    if (import->result)
        cw_promise_reject(import->result, "Error", s->end_message);
    unref_memory(import, 1);
}
