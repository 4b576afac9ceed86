/*
 * oci.h - decoding the JSON documents of an OCI image layout (image-spec v1.1: image-layout.md, image-index.md,
 * manifest.md, config.md; the older Docker types that tools still write are taken too). Pure: text in, structs out,
 * everything that is not as it must be is IMAGE_INVALID. Private to src/image.
 */
#pragma once

#include "image/config.h"
#include "image/store.h"

#define OCI_DOCUMENT_MAX (1u << 20)
#define OCI_ARENA_MAX    (64u << 20) /* enough for any document of that size */
#define OCI_LAYERS_MAX   256

enum oci_media { OCI_MEDIA_OTHER, OCI_MEDIA_INDEX, OCI_MEDIA_MANIFEST, OCI_MEDIA_CONFIG, OCI_MEDIA_LAYER };

/* A reference to a blob. Only SHA-256 is taken. */
struct oci_descriptor {
    enum oci_media media;
    uint8_t digest[IMAGE_DIGEST_BYTES];
    char hex[IMAGE_HEX_SIZE]; /* the blob's file name below blobs/sha256 */
    uint64_t size;
};

struct oci_manifest {
    struct oci_descriptor config;
    struct oci_descriptor *layers; /* lowest first */
    size_t layer_count;
};

/* The layout's marker file: version 1.x. */
int oci_check_layout(struct arena *arena, struct str text, struct berm_error *err);

/*
 * The manifest or nested index for Linux on `architecture`. With `ref`, only entries with that
 * org.opencontainers.image.ref.name count. Several that fit are an error when `single` is set (nobody could tell
 * which is meant); otherwise the first is taken, as in an index of one image for several platforms.
 */
int oci_parse_index(struct arena *arena, struct str text, const char *architecture, const char *ref, bool single,
                    struct oci_descriptor *ret, struct berm_error *err);

int oci_parse_manifest(struct arena *arena, struct str text, struct oci_manifest *ret, struct berm_error *err);

/* Env, Cmd, Entrypoint, WorkingDir and User, into the arena. The image must be for Linux on `architecture`. */
int oci_parse_config(struct arena *arena, struct str text, const char *architecture, struct image_config *ret,
                     struct berm_error *err);
