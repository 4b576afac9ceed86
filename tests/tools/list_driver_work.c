/* list_driver_work.c - the conformance list by libberm: sessions, processes, code, files, git, streams. */
#include "list_driver.h"

static void name_problem(struct call *call, const char *code, const char *message)
{
    call->problem.kind = BERM_PROBLEM_API;
    snprintf(call->problem.code, sizeof(call->problem.code), "%s", code);
    snprintf(call->problem.message, sizeof(call->problem.message), "%s", message);
}

static void write_text(struct call *call, const char *key, const char *value)
{
    json_object_begin(&call->w);
    json_pair_cstring(&call->w, key, value);
    json_object_end(&call->w);
}

/* --- streams --- */

/*
 * Looks at the items of a stream until `take` has written a result (1) or found a problem (-1), and closes it. 0,
 * or -1 with call->problem.
 */
static int follow(struct call *call, struct berm_stream *stream,
                  int (*take)(struct call *call, const struct berm_item *item, struct buf *seen))
{
    struct berm_item item;
    struct buf seen;
    int rc, done = 0;

    buf_init(&seen, (size_t)64 << 20);
    while (done == 0 && (rc = berm_stream_next(stream, -1, &item, &call->problem)) > 0) {
        if (item.kind == BERM_ITEM_END) {
            name_problem(call, "ended", "the stream ended");
            rc = -1;
            break;
        }
        done = take(call, &item, &seen);
    }
    berm_stream_close(stream);
    buf_free(&seen);
    return done > 0 ? 0 : -1;
}

static int take_outcome(struct call *call, const struct berm_item *item, struct buf *seen)
{
    if (item->kind == BERM_ITEM_STDOUT && buf_append(seen, item->data, item->size) < 0)
        abort();
    if (item->kind != BERM_ITEM_EXIT)
        return 0;
    json_object_begin(&call->w);
    json_pair_string(&call->w, "stdout", buf_str(seen));
    json_pair_int(&call->w, "exitCode", item->exit_code);
    json_object_end(&call->w);
    return 1;
}

static int op_exec_stream(struct call *call)
{
    const char *argv[] = { "bash", "-c", text_of(call, "command"), NULL };
    struct berm_exec exec = { .argv = argv };
    struct berm_stream *stream;

    if (berm_exec_stream(call->client, call->id, &exec, &stream, &call->problem) < 0)
        return -1;
    return follow(call, stream, take_outcome);
}

static int follow_process(struct call *call,
                          int (*take)(struct call *call, const struct berm_item *item, struct buf *seen))
{
    struct berm_stream *stream;

    if (berm_process_follow(call->client, call->id, text_of(call, "id"), 0, 0, &stream, &call->problem) < 0)
        return -1;
    return follow(call, stream, take);
}

static int take_exit(struct call *call, const struct berm_item *item, struct buf *seen)
{
    (void)seen;
    if (item->kind != BERM_ITEM_EXIT)
        return 0;
    json_object_begin(&call->w);
    json_pair_int(&call->w, "exitCode", item->exit_code);
    json_object_end(&call->w);
    return 1;
}

static int op_wait_for_exit(struct call *call)
{
    return follow_process(call, take_exit);
}

static int take_line(struct call *call, const struct berm_item *item, struct buf *seen)
{
    const char *at, *end, *start;

    if (item->kind != BERM_ITEM_STDOUT)
        return 0;
    if (buf_append(seen, item->data, item->size) < 0 || buf_append(seen, "", 1) < 0)
        abort();
    seen->len--; /* a NUL stands behind it */
    start = at = strstr(buf_head(seen), text_of(call, "text"));
    if (!at || !(end = strchr(at, '\n')))
        return 0;
    while (start > buf_head(seen) && start[-1] != '\n')
        start--;
    json_object_begin(&call->w);
    json_pair_string(&call->w, "line", (struct str){ start, (size_t)(end - start) });
    json_object_end(&call->w);
    return 1;
}

static int op_wait_for_log(struct call *call)
{
    return follow_process(call, take_line);
}

static int take_port(struct call *call, const struct berm_item *item, struct buf *seen)
{
    (void)seen;
    if (item->kind != BERM_ITEM_EVENT)
        return 0;
    if (!strcmp(item->name, "ready"))
        return 1;
    if (strcmp(item->name, "process_exited") != 0)
        return 0;
    name_problem(call, "PROCESS_EXITED_BEFORE_READY", "the process has ended");
    return -1;
}

static int op_wait_for_port(struct call *call)
{
    struct berm_port_wait wait = { .port = (uint16_t)number_of(call, "port"),
                                   .path = !strcmp(text_of(call, "mode"), "http") ? "/" : NULL,
                                   .process = text_of(call, "id") };
    struct berm_stream *stream;

    if (berm_port_wait(call->client, call->id, &wait, &stream, &call->problem) < 0)
        return -1;
    return follow(call, stream, take_port);
}

/* The first event says that the watch is there: then the file is made. */
static int take_change(struct call *call, const struct berm_item *item, struct buf *seen)
{
    const char *argv[] = { "touch", text_of(call, "create"), NULL };
    struct berm_exec exec = { .argv = argv };
    const struct json *event;
    struct output output;
    int rc = 0;

    if (item->kind != BERM_ITEM_EVENT)
        return 0;
    if (seen->len == 0) {
        rc = run_command(call, &exec, &output);
        output_free(&output);
        return rc < 0 || buf_append(seen, "x", 1) < 0 ? -1 : 0;
    }
    event = document_of(call, item->data);
    json_object_begin(&call->w);
    json_key(&call->w, "type");
    json_value(&call->w, json_get(event, "eventType"));
    json_key(&call->w, "path");
    json_value(&call->w, json_get(event, "path"));
    json_object_end(&call->w);
    return 1;
}

static int op_watch_one(struct call *call)
{
    struct berm_watch watch = { .path = text_of(call, "path"), .recursive = true };
    struct berm_stream *stream;

    if (berm_watch(call->client, call->id, &watch, &stream, &call->problem) < 0)
        return -1;
    return follow(call, stream, take_change);
}

static int op_terminal(struct call *call)
{
    struct berm_terminal_options options = { .cols = (uint16_t)number_of(call, "cols"),
                                             .rows = (uint16_t)number_of(call, "rows") };
    const char *input = text_of(call, "input");
    struct berm_terminal *terminal;
    struct berm_item item;
    struct buf screen;
    int rc, code = -1;

    if (berm_terminal_open(call->client, call->id, &options, &terminal, &call->problem) < 0)
        return -1;
    buf_init(&screen, (size_t)1 << 20);
    rc = berm_terminal_write(terminal, input, strlen(input), &call->problem);
    while (rc >= 0 && (rc = berm_terminal_next(terminal, -1, &item, &call->problem)) > 0) {
        if (item.kind == BERM_ITEM_STDOUT && buf_append(&screen, item.data, item.size) < 0)
            abort();
        if (item.kind == BERM_ITEM_EXIT)
            code = item.exit_code;
        if (item.kind == BERM_ITEM_EXIT || item.kind == BERM_ITEM_END)
            break;
    }
    berm_terminal_close(terminal);
    if (rc > 0) {
        json_object_begin(&call->w);
        json_pair_string(&call->w, "output", buf_str(&screen));
        json_pair_int(&call->w, "exitCode", code);
        json_object_end(&call->w);
    }
    buf_free(&screen);
    return rc > 0 ? 0 : -1;
}

/* --- sessions and processes --- */

static int op_create_session(struct call *call)
{
    struct berm_session_create create = { .id = text_of(call, "id"),
                                          .cwd = text_of(call, "cwd"),
                                          .env = pairs_of(call, "env") };
    char *id;

    if (berm_session_create(call->client, call->id, &create, &id, &call->problem) < 0)
        return -1;
    write_text(call, "id", id);
    free(id);
    return 0;
}

static int op_delete_session(struct call *call)
{
    return berm_session_delete(call->client, call->id, text_of(call, "id"), &call->problem);
}

static int op_start_process(struct call *call)
{
    struct berm_process_start start = { .command = text_of(call, "command"),
                                        .id = text_of(call, "id"),
                                        .has_stdin = flag_of(call, "stdin") };
    char *id;

    if (berm_process_start(call->client, call->id, &start, &id, &call->problem) < 0)
        return -1;
    write_text(call, "id", id);
    free(id);
    return 0;
}

static int op_get_process(struct call *call)
{
    struct berm_process_list *list;

    if (berm_process_get(call->client, call->id, text_of(call, "id"), &list, &call->problem) < 0) {
        if (strcmp(call->problem.code, "PROCESS_NOT_FOUND") != 0)
            return -1;
        json_null(&call->w);
        return 0;
    }
    json_object_begin(&call->w);
    json_pair_cstring(&call->w, "status", list->items[0].status);
    json_pair_int(&call->w, "exitCode", list->items[0].exit_code);
    json_object_end(&call->w);
    berm_process_list_free(list);
    return 0;
}

static int op_list_processes(struct call *call)
{
    struct berm_process_list *list;

    if (berm_process_list(call->client, call->id, &list, &call->problem) < 0)
        return -1;
    json_array_begin(&call->w);
    for (size_t i = 0; i < list->count; i++)
        json_cstring(&call->w, list->items[i].id);
    json_array_end(&call->w);
    berm_process_list_free(list);
    return 0;
}

static int op_process_logs(struct call *call)
{
    struct berm_logs *logs;

    if (berm_process_logs(call->client, call->id, text_of(call, "id"), &logs, &call->problem) < 0)
        return -1;
    json_object_begin(&call->w);
    json_pair_string(&call->w, "stdout", (struct str){ logs->out, logs->out_size });
    json_pair_string(&call->w, "stderr", (struct str){ logs->err, logs->err_size });
    json_object_end(&call->w);
    berm_logs_free(logs);
    return 0;
}

static int op_write_stdin(struct call *call)
{
    const char *data = text_of(call, "data");

    return berm_process_input(call->client, call->id, text_of(call, "id"), data, strlen(data),
                              flag_of(call, "close"), &call->problem);
}

static int op_kill_process(struct call *call)
{
    return berm_process_kill(call->client, call->id, text_of(call, "id"), &call->problem);
}

static int op_kill_all(struct call *call)
{
    int64_t count;

    if (berm_process_kill_all(call->client, call->id, &count, &call->problem) < 0)
        return -1;
    json_object_begin(&call->w);
    json_pair_int(&call->w, "count", count);
    json_object_end(&call->w);
    return 0;
}

/* --- code --- */

static int op_list_contexts(struct call *call)
{
    struct berm_context_list *list;

    if (berm_context_list(call->client, call->id, &list, &call->problem) < 0)
        return -1;
    json_array_begin(&call->w);
    for (size_t i = 0; i < list->count; i++) {
        json_object_begin(&call->w);
        json_pair_cstring(&call->w, "id", list->items[i].id);
        json_pair_cstring(&call->w, "language", list->items[i].language);
        json_object_end(&call->w);
    }
    json_array_end(&call->w);
    berm_context_list_free(list);
    return 0;
}

static int op_create_context(struct call *call)
{
    char *context;

    if (berm_context_create(call->client, call->id, text_of(call, "language"), NULL, NULL, &context,
                            &call->problem) < 0)
        return -1;
    json_object_begin(&call->w);
    json_pair_cstring(&call->w, "id", context);
    json_pair_cstring(&call->w, "language", text_of(call, "language"));
    json_object_end(&call->w);
    free(context);
    return 0;
}

static int op_delete_context(struct call *call)
{
    return berm_context_delete(call->client, call->id, text_of(call, "id"), &call->problem);
}

struct run {
    struct buf out, results;
    struct json_writer w;
    const struct json *error;
};

/* A form of the result, which is all but what kind of event it is. */
static void add_result(struct run *run, const struct json *event)
{
    json_object_begin(&run->w);
    for (size_t i = 0; i < event->object.count; i++) {
        const struct json_member *member = &event->object.members[i];
        if (str_is(member->key, "type") || str_is(member->key, "metadata"))
            continue;
        json_key_str(&run->w, member->key);
        json_value(&run->w, &member->value);
    }
    json_object_end(&run->w);
}

static void write_run(struct call *call, struct run *run)
{
    json_array_end(&run->w);
    if (json_writer_finish(&run->w) < 0 || buf_append(&run->results, "", 1) < 0)
        abort();
    json_object_begin(&call->w);
    json_pair_string(&call->w, "stdout", buf_str(&run->out));
    json_key(&call->w, "results");
    json_value(&call->w, document_of(call, buf_head(&run->results)));
    json_key(&call->w, "error");
    if (run->error)
        json_value(&call->w, run->error);
    else
        json_null(&call->w);
    json_object_end(&call->w);
}

static int op_run_code(struct call *call)
{
    struct berm_code code = { .context = text_of(call, "context"), .code = text_of(call, "code") };
    struct berm_stream *stream;
    struct berm_item item;
    struct run run = { 0 };
    int rc;

    if (berm_code_run(call->client, call->id, &code, &stream, &call->problem) < 0)
        return -1;
    buf_init(&run.out, (size_t)1 << 20);
    buf_init(&run.results, (size_t)1 << 20);
    json_writer_init(&run.w, &run.results);
    json_array_begin(&run.w);
    while ((rc = berm_stream_next(stream, -1, &item, &call->problem)) > 0 && item.kind != BERM_ITEM_END) {
        if (item.kind == BERM_ITEM_STDOUT && buf_append(&run.out, item.data, item.size) < 0)
            abort();
        if (item.kind == BERM_ITEM_EVENT && !strcmp(item.name, "result"))
            add_result(&run, document_of(call, item.data));
        if (item.kind == BERM_ITEM_EVENT && !strcmp(item.name, "error"))
            run.error = json_get(document_of(call, item.data), "ename");
    }
    berm_stream_close(stream);
    if (rc > 0)
        write_run(call, &run);
    buf_free(&run.out);
    buf_free(&run.results);
    return rc > 0 ? 0 : -1;
}

/* --- files, changes, git --- */

static int op_mkdir(struct call *call)
{
    return berm_file_mkdir(call->client, call->id, text_of(call, "path"), flag_of(call, "recursive"),
                           &call->problem);
}

static int op_delete_file(struct call *call)
{
    return berm_file_delete(call->client, call->id, text_of(call, "path"), &call->problem);
}

static int op_move_file(struct call *call)
{
    return berm_file_move(call->client, call->id, text_of(call, "from"), text_of(call, "to"), &call->problem);
}

static int op_exists(struct call *call)
{
    bool exists;

    if (berm_file_exists(call->client, call->id, text_of(call, "path"), &exists, &call->problem) < 0)
        return -1;
    json_object_begin(&call->w);
    json_pair_bool(&call->w, "exists", exists);
    json_object_end(&call->w);
    return 0;
}

static int op_stat_file(struct call *call)
{
    struct berm_file_list *list;

    if (berm_file_stat(call->client, call->id, text_of(call, "path"), &list, &call->problem) < 0)
        return -1;
    json_object_begin(&call->w);
    json_pair_cstring(&call->w, "name", list->items[0].name);
    json_pair_cstring(&call->w, "type", list->items[0].type);
    json_pair_int(&call->w, "size", list->items[0].size);
    json_object_end(&call->w);
    berm_file_list_free(list);
    return 0;
}

static int op_list_files(struct call *call)
{
    struct berm_file_list *list;

    if (berm_file_list(call->client, call->id, text_of(call, "path"), false, false, &list, &call->problem) < 0)
        return -1;
    json_array_begin(&call->w);
    for (size_t i = 0; i < list->count; i++) {
        json_object_begin(&call->w);
        json_pair_cstring(&call->w, "name", list->items[i].name);
        json_pair_cstring(&call->w, "type", list->items[i].type);
        json_object_end(&call->w);
    }
    json_array_end(&call->w);
    berm_file_list_free(list);
    return 0;
}

static int op_check_changes(struct call *call)
{
    static const char *const names[] = { "status", "version", NULL };
    char *json;

    if (berm_watch_check(call->client, call->id, text_of(call, "path"), text_of(call, "since"), &json,
                         &call->problem) < 0)
        return -1;
    write_members(call, document_of(call, json), names);
    free(json);
    return 0;
}

static int op_git_checkout(struct call *call)
{
    struct berm_git git = { .url = text_of(call, "url"), .directory = text_of(call, "target") };
    char *directory, *branch;

    if (berm_git_checkout(call->client, call->id, &git, &directory, &branch, &call->problem) < 0)
        return -1;
    json_object_begin(&call->w);
    json_pair_cstring(&call->w, "branch", branch);
    json_pair_cstring(&call->w, "target", directory);
    json_object_end(&call->w);
    free(directory);
    free(branch);
    return 0;
}

const struct operation work_operations[] = {
    { "execStream", op_exec_stream },
    { "waitForExit", op_wait_for_exit },
    { "waitForLog", op_wait_for_log },
    { "waitForPort", op_wait_for_port },
    { "watchOne", op_watch_one },
    { "terminal", op_terminal },
    { "createSession", op_create_session },
    { "deleteSession", op_delete_session },
    { "startProcess", op_start_process },
    { "getProcess", op_get_process },
    { "listProcesses", op_list_processes },
    { "processLogs", op_process_logs },
    { "writeStdin", op_write_stdin },
    { "killProcess", op_kill_process },
    { "killAllProcesses", op_kill_all },
    { "createContext", op_create_context },
    { "listContexts", op_list_contexts },
    { "deleteContext", op_delete_context },
    { "runCode", op_run_code },
    { "mkdir", op_mkdir },
    { "deleteFile", op_delete_file },
    { "renameFile", op_move_file },
    { "moveFile", op_move_file },
    { "exists", op_exists },
    { "statFile", op_stat_file },
    { "listFiles", op_list_files },
    { "checkChanges", op_check_changes },
    { "gitCheckout", op_git_checkout },
    { NULL, NULL },
};
