#include "image/oci.h"

#define REF_NAME       "org.opencontainers.image.ref.name"
#define LAYER_SIZE_MAX (1ll << 40)
#define DOCUMENT_DEPTH 16

static const struct {
    const char *type;
    enum oci_media media;
} media_types[] = {
    { "application/vnd.oci.image.index.v1+json", OCI_MEDIA_INDEX },
    { "application/vnd.docker.distribution.manifest.list.v2+json", OCI_MEDIA_INDEX },
    { "application/vnd.oci.image.manifest.v1+json", OCI_MEDIA_MANIFEST },
    { "application/vnd.docker.distribution.manifest.v2+json", OCI_MEDIA_MANIFEST },
    { "application/vnd.oci.image.config.v1+json", OCI_MEDIA_CONFIG },
    { "application/vnd.docker.container.image.v1+json", OCI_MEDIA_CONFIG },
    { "application/vnd.oci.image.layer.v1.tar", OCI_MEDIA_LAYER },
    { "application/vnd.oci.image.layer.v1.tar+gzip", OCI_MEDIA_LAYER },
    { "application/vnd.oci.image.layer.v1.tar+zstd", OCI_MEDIA_LAYER },
    { "application/vnd.oci.image.layer.nondistributable.v1.tar", OCI_MEDIA_LAYER },
    { "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", OCI_MEDIA_LAYER },
    { "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd", OCI_MEDIA_LAYER },
    { "application/vnd.docker.image.rootfs.diff.tar", OCI_MEDIA_LAYER },
    { "application/vnd.docker.image.rootfs.diff.tar.gzip", OCI_MEDIA_LAYER },
};

static int parse_document(struct arena *arena, struct str text, const char *what, const struct json **ret,
                          struct berm_error *err)
{
    struct berm_error detail = { 0 };
    if (json_parse(arena, text, DOCUMENT_DEPTH, ret, &detail) < 0)
        return berm_fail(err, BERM_E_IMAGE_INVALID, 0, "%s of the layout: %s", what, detail.message);
    if ((*ret)->type != JSON_OBJECT)
        return berm_fail(err, BERM_E_IMAGE_INVALID, 0, "%s of the layout is not a JSON object", what);
    return 0;
}

/* Runs a json_field_* call whose error is the layout's fault, not the request's. */
static int invalid(struct berm_error *err, const char *what, const struct berm_error *detail)
{
    return berm_fail(err, BERM_E_IMAGE_INVALID, 0, "%s of the layout: %s", what, detail->message);
}

int oci_check_layout(struct arena *arena, struct str text, struct berm_error *err)
{
    const struct json *document;
    struct berm_error detail = { 0 };
    struct str version = STR("");
    if (parse_document(arena, text, "oci-layout", &document, err) < 0)
        return -1;
    if (json_field_string(document, "imageLayoutVersion", &version, &detail) < 0)
        return invalid(err, "oci-layout", &detail);
    if (!str_has_prefix(version, STR("1.")))
        return berm_fail(err, BERM_E_IMAGE_INVALID, 0, "the layout's version is not 1.x");
    return 0;
}

static enum oci_media media_of(struct str type)
{
    for (size_t i = 0; i < ARRAY_SIZE(media_types); i++)
        if (str_is(type, media_types[i].type))
            return media_types[i].media;
    return OCI_MEDIA_OTHER;
}

static int parse_descriptor(const struct json *object, const char *what, struct oci_descriptor *ret,
                            struct berm_error *err)
{
    struct berm_error detail = { 0 };
    struct str type = STR(""), digest = STR("");
    int64_t size = -1;
    memset(ret, 0, sizeof(*ret));
    if (!object || object->type != JSON_OBJECT)
        return berm_fail(err, BERM_E_IMAGE_INVALID, 0, "%s of the layout: a descriptor is missing", what);
    if (json_field_string(object, "mediaType", &type, &detail) < 0 ||
        json_field_string(object, "digest", &digest, &detail) < 0 ||
        json_field_int(object, "size", 0, LAYER_SIZE_MAX, &size, &detail) < 0)
        return invalid(err, what, &detail);
    ret->media = media_of(type);
    if (size < 0)
        return berm_fail(err, BERM_E_IMAGE_INVALID, 0, "%s of the layout: a descriptor has no size", what);
    ret->size = (uint64_t)size;
    struct str prefix = STR("sha256:");
    struct str hex = { digest.p + prefix.n, digest.n - prefix.n };
    if (!str_has_prefix(digest, prefix) || hex_decode(hex, ret->digest, sizeof(ret->digest)) < 0)
        return berm_fail(err, BERM_E_IMAGE_INVALID, 0,
                         "%s of the layout: a digest is not sha256: and 64 hex digits", what);
    return str_copy(hex, ret->hex, sizeof(ret->hex));
}

/* An entry that says nothing about its platform may fit; the image's own configuration decides then. */
static bool platform_fits(const struct json *entry, const char *architecture)
{
    const struct json *platform = json_get(entry, "platform");
    const struct json *os = json_get(platform, "os");
    const struct json *arch = json_get(platform, "architecture");
    if (!platform || platform->type == JSON_NULL)
        return true;
    return os && os->type == JSON_STRING && str_is(os->string, "linux") && arch && arch->type == JSON_STRING &&
           str_is(arch->string, architecture);
}

static bool ref_fits(const struct json *entry, const char *ref)
{
    const struct json *name = json_get(json_get(entry, "annotations"), REF_NAME);
    return !ref || (name && name->type == JSON_STRING && str_is(name->string, ref));
}

int oci_parse_index(struct arena *arena, struct str text, const char *architecture, const char *ref, bool single,
                    struct oci_descriptor *ret, struct berm_error *err)
{
    const struct json *document, *manifests = NULL;
    struct berm_error detail = { 0 };
    size_t found = 0;
    if (parse_document(arena, text, "the index", &document, err) < 0)
        return -1;
    if (json_field_array(document, "manifests", &manifests, &detail) < 0)
        return invalid(err, "the index", &detail);
    for (size_t i = 0; manifests && i < manifests->array.count; i++) {
        const struct json *entry = &manifests->array.items[i];
        struct oci_descriptor candidate;
        if (parse_descriptor(entry, "the index", &candidate, err) < 0)
            return -1;
        if ((candidate.media != OCI_MEDIA_MANIFEST && candidate.media != OCI_MEDIA_INDEX) ||
            !platform_fits(entry, architecture) || !ref_fits(entry, ref))
            continue;
        bool same = found > 0 && memcmp(candidate.digest, ret->digest, sizeof(ret->digest)) == 0;
        if (found == 0)
            *ret = candidate;
        found += !same;
    }
    if (found == 0)
        return berm_fail(err, BERM_E_IMAGE_INVALID, 0, "the layout has no image%s%.60s for linux/%s",
                         ref ? " called " : "", ref ? ref : "", architecture);
    if (found > 1 && single)
        return berm_fail(err, BERM_E_IMAGE_INVALID, 0,
                         "the layout has several images: choose one as DIRECTORY:REF");
    return 0;
}

int oci_parse_manifest(struct arena *arena, struct str text, struct oci_manifest *ret, struct berm_error *err)
{
    const struct json *document, *layers = NULL;
    struct berm_error detail = { 0 };
    if (parse_document(arena, text, "the manifest", &document, err) < 0 ||
        parse_descriptor(json_get(document, "config"), "the manifest", &ret->config, err) < 0)
        return -1;
    if (json_field_array(document, "layers", &layers, &detail) < 0)
        return invalid(err, "the manifest", &detail);
    if (ret->config.media != OCI_MEDIA_CONFIG)
        return berm_fail(err, BERM_E_IMAGE_INVALID, 0, "the manifest is not that of an image");
    ret->layer_count = layers ? layers->array.count : 0;
    if (ret->layer_count == 0 || ret->layer_count > OCI_LAYERS_MAX)
        return berm_fail(err, BERM_E_IMAGE_INVALID, 0, "the image has no layers or more than %d", OCI_LAYERS_MAX);
    ret->layers = arena_calloc(arena, ret->layer_count, sizeof(ret->layers[0]));
    if (!ret->layers)
        return berm_fail(err, BERM_E_SYSTEM, ENOMEM, "the manifest");
    for (size_t i = 0; i < ret->layer_count; i++) {
        if (parse_descriptor(&layers->array.items[i], "the manifest", &ret->layers[i], err) < 0)
            return -1;
        if (ret->layers[i].media != OCI_MEDIA_LAYER)
            return berm_fail(err, BERM_E_IMAGE_INVALID, 0, "layer %zu of the image is of a type that is not taken",
                             i);
    }
    return 0;
}

static int take_env(struct arena *arena, const struct json *object, struct image_config *config,
                    struct berm_error *err)
{
    const struct json *env = NULL;
    if (json_field_array(object, "Env", &env, err) < 0)
        return -1;
    for (size_t i = 0; env && i < env->array.count; i++) {
        const struct json *item = &env->array.items[i];
        const char *equals = item->type == JSON_STRING ? memchr(item->string.p, '=', item->string.n) : NULL;
        if (!equals)
            return berm_fail_field(err, "Env", "Env must hold NAME=VALUE strings");
        size_t n = (size_t)(equals - item->string.p);
        struct str value = { equals + 1, item->string.n - n - 1 };
        if (image_config_set_env(config, arena, (struct str){ item->string.p, n }, value, err) < 0)
            return -1;
    }
    return 0;
}

static int take_settings(struct arena *arena, const struct json *document, struct image_config *config,
                         struct berm_error *err)
{
    const struct json *object = NULL;
    struct str user = STR(""), workdir = STR("");
    if (json_field_object(document, "config", &object, err) < 0)
        return -1;
    if (!object)
        return 0;
    if (json_field_string(object, "User", &user, err) < 0 ||
        json_field_string(object, "WorkingDir", &workdir, err) < 0 ||
        image_config_set_user(config, arena, user, err) < 0 ||
        image_config_set_workdir(config, arena, workdir, err) < 0 || take_env(arena, object, config, err) < 0 ||
        image_config_take_words(arena, object, "Cmd", config->cmd, &config->cmd_count, err) < 0)
        return -1;
    return image_config_take_words(arena, object, "Entrypoint", config->entrypoint, &config->entrypoint_count, err);
}

int oci_parse_config(struct arena *arena, struct str text, const char *architecture, struct image_config *ret,
                     struct berm_error *err)
{
    const struct json *document;
    struct berm_error detail = { 0 };
    struct str os = STR(""), arch = STR("");
    if (image_config_init(ret, arena, err) < 0 ||
        parse_document(arena, text, "the configuration", &document, err) < 0)
        return -1;
    if (json_field_string(document, "os", &os, &detail) < 0 ||
        json_field_string(document, "architecture", &arch, &detail) < 0 ||
        take_settings(arena, document, ret, &detail) < 0)
        return invalid(err, "the configuration", &detail);
    if (!str_is(os, "linux") || !str_is(arch, architecture))
        return berm_fail(err, BERM_E_IMAGE_INVALID, 0, "the image is not for linux/%s", architecture);
    return 0;
}
