/* buckets.c - buckets of S3 servers as directories of a sandbox. */
#include "client/call.h"

static void write_keys(struct json_writer *w, const struct berm_bucket *bucket)
{
    json_key(w, "credentials");
    json_object_begin(w);
    json_pair_cstring(w, "accessKeyId", bucket->access_key_id);
    json_pair_cstring(w, "secretAccessKey", bucket->secret_access_key);
    json_object_end(w);
}

static void write_options(struct document *d, const struct berm_bucket *bucket)
{
    json_key(&d->w, "options");
    json_object_begin(&d->w);
    document_text(d, "endpoint", bucket->endpoint);
    document_text(d, "prefix", bucket->prefix);
    if (bucket->read_only)
        json_pair_bool(&d->w, "readOnly", true);
    if (bucket->access_key_id)
        write_keys(&d->w, bucket);
    if (bucket->s3fs_options) {
        json_key(&d->w, "s3fsOptions");
        json_array_begin(&d->w);
        for (const char *const *option = bucket->s3fs_options; *option; option++)
            json_cstring(&d->w, *option);
        json_array_end(&d->w);
    }
    json_object_end(&d->w);
}

int berm_bucket_mount(struct berm_client *client, const char *id, const struct berm_bucket *bucket,
                      struct berm_problem *problem)
{
    _cleanup_document_ struct document d;
    int rc;

    if (!bucket->access_key_id != !bucket->secret_access_key)
        return problem_set(problem, BERM_PROBLEM_ARGUMENT, 0, "a key's id and its secret go together");
    document_begin(&d);
    document_text(&d, bucket->endpoint ? "bucket" : "binding", bucket->bucket);
    document_text(&d, "mountPath", bucket->path);
    write_options(&d, bucket);
    rc = call_text(client, "POST", sandbox_target(id, "/mount", problem), &d, NULL, problem);
    if (d.buf.len > 0)
        explicit_bzero(buf_head(&d.buf), d.buf.len);
    return rc;
}

int berm_bucket_unmount(struct berm_client *client, const char *id, const char *path, struct berm_problem *problem)
{
    _cleanup_document_ struct document d;

    document_begin(&d);
    document_text(&d, "mountPath", path);
    return call_text(client, "POST", sandbox_target(id, "/unmount", problem), &d, NULL, problem);
}
