/* What src/image reads without touching a file: names, member paths, recipes, configurations, OCI documents. */
#include "image/oci.h"
#include "image/recipe.h"
#include "image/unpack.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define HEX_A                 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define HEX_B                 "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define DESCRIPTOR(type, hex) "{\"mediaType\":\"" type "\",\"digest\":\"sha256:" hex "\",\"size\":7"
#define MANIFEST_TYPE         "application/vnd.oci.image.manifest.v1+json"
#define CONFIG_TYPE           "application/vnd.oci.image.config.v1+json"
#define LAYER_TYPE            "application/vnd.oci.image.layer.v1.tar+gzip"

static struct arena arena;

static int setup(void **state)
{
    (void)state;
    arena_init(&arena, OCI_ARENA_MAX);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_free(&arena);
    return 0;
}

static void names_are_lower_case_words_and_never_digests(void **state)
{
    (void)state;
    static const char *const good[] = { "base", "a", "0", "node-22.1_x", "a..b" };
    static const char *const bad[] = {
        "", ".", "..", "-a", ".a", "_a", "A", "a/b", "a b", "a\n", "b\xc3\xa9", HEX_A
    };
    for (size_t i = 0; i < ARRAY_SIZE(good); i++)
        assert_true(image_name_valid(str_from(good[i])));
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_false(image_name_valid(str_from(bad[i])));
    char longest[IMAGE_NAME_MAX + 2];
    memset(longest, 'z', sizeof(longest));
    assert_true(image_name_valid((struct str){ longest, IMAGE_NAME_MAX }));
    assert_false(image_name_valid((struct str){ longest, IMAGE_NAME_MAX + 1 }));
}

static void member_names_become_plain_relative_paths(void **state)
{
    (void)state;
    static const struct {
        const char *name, *path;
    } cases[] = { { "a/b", "a/b" },
                  { "/etc/passwd", "etc/passwd" },
                  { "./a//b/./c/", "a/b/c" },
                  { "./", "" },
                  { "/", "" },
                  { "", "" },
                  { "...", "..." },
                  { "a/..b", "a/..b" } };
    char path[UNPACK_PATH_MAX];
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        assert_int_equal(unpack_path(cases[i].name, path, NULL), 0);
        assert_string_equal(path, cases[i].path);
    }
}

static void member_names_that_could_leave_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = { "..", "../a", "a/..", "a/../b", "/../a", "./../a", "a/b/../../.." };
    char path[UNPACK_PATH_MAX];
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct berm_error err = { 0 };
        assert_int_equal(unpack_path(bad[i], path, &err), -1);
        assert_int_equal(err.code, BERM_E_IMAGE_INVALID);
    }
}

static void member_names_have_limits(void **state)
{
    (void)state;
    char name[2 * UNPACK_PATH_MAX], path[UNPACK_PATH_MAX];
    memset(name, 'a', sizeof(name));
    name[UNPACK_NAME_MAX] = '\0';
    assert_int_equal(unpack_path(name, path, NULL), 0);
    name[UNPACK_NAME_MAX] = 'a';
    name[UNPACK_NAME_MAX + 1] = '\0';
    assert_int_equal(unpack_path(name, path, NULL), -1);

    /* Components of 63 bytes and a '/': 64 of them make 4096 with the NUL. */
    for (size_t i = 0; i < UNPACK_PATH_MAX; i++)
        name[i] = i % 64 == 63 ? '/' : 'b';
    name[UNPACK_PATH_MAX - 1] = '\0';
    assert_int_equal(unpack_path(name, path, NULL), 0);
    assert_int_equal(strlen(path), UNPACK_PATH_MAX - 1);
    name[UNPACK_PATH_MAX - 1] = '/';
    name[UNPACK_PATH_MAX] = 'b';
    name[UNPACK_PATH_MAX + 1] = '\0';
    assert_int_equal(unpack_path(name, path, NULL), -1);

    for (size_t i = 0; i < UNPACK_DEPTH_MAX * 2; i++)
        name[i] = i % 2 ? '/' : 'c';
    name[UNPACK_DEPTH_MAX * 2] = '\0';
    assert_int_equal(unpack_path(name, path, NULL), 0);
    name[UNPACK_DEPTH_MAX * 2] = 'c';
    name[UNPACK_DEPTH_MAX * 2 + 1] = '\0';
    assert_int_equal(unpack_path(name, path, NULL), -1);
}

static void whiteouts_are_told_from_ordinary_names(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        enum unpack_whiteout kind;
        const char *target;
    } cases[] = {
        { "a/b", UNPACK_WHITEOUT_NONE, NULL },          { "a/.wh", UNPACK_WHITEOUT_NONE, NULL },
        { ".wh.a/b", UNPACK_WHITEOUT_NONE, NULL },      { ".wh.a", UNPACK_WHITEOUT_FILE, "a" },
        { "x/y/.wh.a", UNPACK_WHITEOUT_FILE, "x/y/a" }, { "x/.wh..wh..opq", UNPACK_WHITEOUT_OPAQUE, "x" },
        { ".wh..wh..opq", UNPACK_WHITEOUT_OPAQUE, "" }, { "x/.wh..wh.plnk", UNPACK_WHITEOUT_IGNORED, NULL },
    };
    static const char *const bad[] = { ".wh.", "a/.wh.", ".wh..", ".wh...", "a/.wh..." };
    char target[UNPACK_PATH_MAX];
    enum unpack_whiteout kind;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        assert_int_equal(unpack_whiteout(cases[i].path, &kind, target, NULL), 0);
        assert_int_equal(kind, cases[i].kind);
        if (cases[i].target)
            assert_string_equal(target, cases[i].target);
    }
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_int_equal(unpack_whiteout(bad[i], &kind, target, NULL), -1);
}

static void a_recipe_sets_what_it_names(void **state)
{
    (void)state;
    struct recipe recipe;
    struct str text = STR("# comment\n\n  suite trixie\nvariant\tessential\nenv A=b c=d\nenv A=2\nenv EMPTY=\n"
                          "workdir /w\nuser sandbox\ncmd /bin/sh -c  x\nentrypoint /init");
    assert_int_equal(recipe_parse(&arena, text, &recipe, NULL), 0);
    assert_string_equal(recipe.suite, "trixie");
    assert_string_equal(recipe.variant, "essential");
    assert_int_equal(recipe.config.env_count, 2);
    assert_string_equal(recipe.config.env[0].value.p, "2");
    assert_string_equal(recipe.config.env[1].value.p, "");
    assert_string_equal(recipe.config.workdir, "/w");
    assert_string_equal(recipe.config.user, "sandbox");
    assert_int_equal(recipe.config.cmd_count, 3);
    assert_string_equal(recipe.config.cmd[2].p, "x");
    assert_string_equal(recipe.config.entrypoint[0].p, "/init");
}

static void a_wrong_line_of_a_recipe_is_named(void **state)
{
    (void)state;
    static const char *const bad[] = { "\ncolour red", "\nsuite", "\nsuite --evil", "\nsuite a/b",
                                       "\nvariant A",  "\nenv A", "\nenv =x" };
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct recipe recipe;
        struct berm_error err = { 0 };
        assert_int_equal(recipe_parse(&arena, str_from(bad[i]), &recipe, &err), -1);
        assert_non_null(strstr(err.message, "line 2 "));
    }
}

static void a_configuration_is_written_one_way_only(void **state)
{
    (void)state;
    struct image_config config, again;
    struct buf out, second;
    buf_init(&out, IMAGE_CONFIG_MAX_BYTES);
    buf_init(&second, IMAGE_CONFIG_MAX_BYTES);
    assert_int_equal(image_config_init(&config, &arena, NULL), 0);
    config.architecture = "amd64";
    assert_int_equal(image_config_set_env(&config, &arena, STR("Z"), STR("1\n"), NULL), 0);
    assert_int_equal(image_config_set_env(&config, &arena, STR("PATH"), STR("/bin"), NULL), 0);
    assert_int_equal(image_config_set_env(&config, &arena, STR("Z"), STR("2\""), NULL), 0);
    assert_int_equal(image_config_set_workdir(&config, &arena, STR("app"), NULL), 0);
    assert_int_equal(image_config_add_word(config.cmd, &config.cmd_count, &arena, STR("sh"), NULL), 0);
    assert_int_equal(image_config_write(&config, &out, NULL), 0);
    struct str text = buf_str(&out);
    assert_true(str_is(text, "{\"architecture\":\"amd64\",\"cmd\":[\"sh\"],\"entrypoint\":[],"
                             "\"env\":{\"PATH\":\"/bin\",\"Z\":\"2\\\"\"},\"user\":\"\",\"workdir\":\"/app\"}\n"));
    assert_int_equal(image_config_parse(&arena, text, &again, NULL), 0);
    assert_int_equal(image_config_write(&again, &second, NULL), 0);
    assert_true(str_eq(text, buf_str(&second)));
    buf_free(&out);
    buf_free(&second);
}

static void a_configuration_takes_no_nul_bytes_and_has_limits(void **state)
{
    (void)state;
    struct image_config config;
    assert_int_equal(image_config_init(&config, &arena, NULL), 0);
    assert_int_equal(image_config_set_env(&config, &arena, STR("A"), STR("x\0y"), NULL), -1);
    assert_int_equal(image_config_set_env(&config, &arena, STR(""), STR("x"), NULL), -1);
    assert_int_equal(image_config_set_env(&config, &arena, STR("A=B"), STR("x"), NULL), -1);
    assert_int_equal(image_config_set_workdir(&config, &arena, STR("/a\0b"), NULL), -1);
    for (unsigned i = 0; i < IMAGE_CONFIG_MAX_ENV; i++) {
        char name[16];
        snprintf(name, sizeof(name), "V%u", i);
        assert_int_equal(image_config_set_env(&config, &arena, str_from(name), STR(""), NULL), 0);
    }
    assert_int_equal(image_config_set_env(&config, &arena, STR("ONE_MORE"), STR(""), NULL), -1);
    assert_int_equal(image_config_set_env(&config, &arena, STR("V7"), STR("again"), NULL), 0);
}

static int parse_index(const char *text, const char *ref, bool single, struct oci_descriptor *ret)
{
    return oci_parse_index(&arena, str_from(text), "amd64", ref, single, ret, NULL);
}

static void an_index_gives_the_image_of_this_architecture(void **state)
{
    (void)state;
    struct oci_descriptor found;
    const char *two = "{\"manifests\":[" DESCRIPTOR(
        MANIFEST_TYPE, HEX_A) ",\"platform\":{\"os\":\"linux\","
                              "\"architecture\":\"arm64\"}}," DESCRIPTOR(MANIFEST_TYPE,
                                                                         HEX_B) ",\"platform\":{\"os\":\"linux\","
                                                                                "\"architecture\":\"amd64\"}}]}";
    assert_int_equal(parse_index(two, NULL, true, &found), 0);
    assert_string_equal(found.hex, HEX_B);
    assert_int_equal(found.size, 7);
    assert_int_equal(found.media, OCI_MEDIA_MANIFEST);
    /* Build attestations have the platform unknown/unknown, other things have other types. */
    const char *others = "{\"manifests\":[" DESCRIPTOR(
        MANIFEST_TYPE, HEX_A) ",\"platform\":{\"os\":\"unknown\","
                              "\"architecture\":\"unknown\"}}," DESCRIPTOR("text/plain", HEX_A) "}]}";
    assert_int_equal(parse_index(others, NULL, true, &found), -1);
    assert_int_equal(parse_index("{\"manifests\":[" DESCRIPTOR(MANIFEST_TYPE, HEX_A) "}]}", NULL, true, &found), 0);
}

static void an_index_of_several_images_needs_a_reference(void **state)
{
    (void)state;
    struct oci_descriptor found;
    const char *two = "{\"manifests\":[" DESCRIPTOR(
        MANIFEST_TYPE, HEX_A) ",\"annotations\":{"
                              "\"org.opencontainers.image.ref.name\":\"one\"}}," DESCRIPTOR(
                                  MANIFEST_TYPE,
                                  HEX_B) ",\"annotations\":{\"org.opencontainers.image.ref.name\":\"two\"}}]}";
    assert_int_equal(parse_index(two, NULL, true, &found), -1);
    assert_int_equal(parse_index(two, NULL, false, &found), 0);
    assert_string_equal(found.hex, HEX_A);
    assert_int_equal(parse_index(two, "two", true, &found), 0);
    assert_string_equal(found.hex, HEX_B);
    assert_int_equal(parse_index(two, "three", true, &found), -1);
    const char *same =
        "{\"manifests\":[" DESCRIPTOR(MANIFEST_TYPE, HEX_A) "}," DESCRIPTOR(MANIFEST_TYPE, HEX_A) "}]}";
    assert_int_equal(parse_index(same, NULL, true, &found), 0);
}

static void indexes_that_are_not_as_they_must_be_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "[]",
        "{}",
        "{\"manifests\":7}",
        "{\"manifests\":[]}",
        "{\"manifests\":[7]}",
        "{\"manifests\":[{}]}",
        "{\"manifests\":[{\"mediaType\":\"" MANIFEST_TYPE "\",\"size\":7,\"digest\":\"sha256:../../etc/passwd\"}]}",
        "{\"manifests\":[{\"mediaType\":\"" MANIFEST_TYPE "\",\"size\":7,\"digest\":\"sha512:" HEX_A "\"}]}",
        "{\"manifests\":[{\"mediaType\":\"" MANIFEST_TYPE "\",\"size\":-1,\"digest\":\"sha256:" HEX_A "\"}]}",
        "{\"manifests\":[{\"mediaType\":\"" MANIFEST_TYPE "\",\"digest\":\"sha256:" HEX_A "\"}]}",
        "{\"manifests\":[{\"mediaType\":\"" MANIFEST_TYPE "\",\"size\":9e99,\"digest\":\"sha256:" HEX_A "\"}]}",
    };
    struct oci_descriptor found;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_int_equal(parse_index(bad[i], NULL, true, &found), -1);
}

static void a_manifest_lists_its_layers_in_order(void **state)
{
    (void)state;
    struct oci_manifest manifest;
    const char *text = "{\"config\":" DESCRIPTOR(CONFIG_TYPE, HEX_A) "},\"layers\":[" DESCRIPTOR(
        LAYER_TYPE, HEX_A) "}," DESCRIPTOR("application/vnd.docker.image.rootfs.diff.tar.gzip", HEX_B) "}]}";
    assert_int_equal(oci_parse_manifest(&arena, str_from(text), &manifest, NULL), 0);
    assert_int_equal(manifest.layer_count, 2);
    assert_string_equal(manifest.layers[0].hex, HEX_A);
    assert_string_equal(manifest.layers[1].hex, HEX_B);
}

static void manifests_of_other_things_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "{}",
        "{\"config\":7,\"layers\":[]}",
        "{\"config\":" DESCRIPTOR(CONFIG_TYPE, HEX_A) "}}",
        "{\"config\":" DESCRIPTOR(CONFIG_TYPE, HEX_A) "},\"layers\":[]}",
        "{\"config\":" DESCRIPTOR(CONFIG_TYPE, HEX_A) "},\"layers\":[" DESCRIPTOR("text/plain", HEX_A) "}]}",
        "{\"config\":" DESCRIPTOR("application/vnd.cncf.helm.config.v1+json",
                                  HEX_A) "},\"layers\":[" DESCRIPTOR(LAYER_TYPE, HEX_A) "}]}",
    };
    struct oci_manifest manifest;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_int_equal(oci_parse_manifest(&arena, str_from(bad[i]), &manifest, NULL), -1);
}

static void an_oci_configuration_is_taken_over(void **state)
{
    (void)state;
    struct image_config config;
    const char *text =
        "{\"os\":\"linux\",\"architecture\":\"amd64\",\"config\":{\"Env\":[\"PATH=/bin\",\"A=b=c\"],"
        "\"Cmd\":[\"node\"],\"Entrypoint\":[\"/e\",\"x\"],\"WorkingDir\":\"\",\"User\":\"1000:1000\"}}";
    assert_int_equal(oci_parse_config(&arena, str_from(text), "amd64", &config, NULL), 0);
    assert_int_equal(config.env_count, 2);
    assert_string_equal(config.env[1].value.p, "b=c");
    assert_string_equal(config.cmd[0].p, "node");
    assert_int_equal(config.entrypoint_count, 2);
    assert_string_equal(config.workdir, "/");
    assert_string_equal(config.user, "1000:1000");
    const char *bare = "{\"os\":\"linux\",\"architecture\":\"amd64\",\"config\":{\"Cmd\":null}}";
    assert_int_equal(oci_parse_config(&arena, str_from(bare), "amd64", &config, NULL), 0);
    assert_int_equal(config.cmd_count, 0);
}

static void oci_configurations_for_others_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "{}",
        "{\"os\":\"windows\",\"architecture\":\"amd64\"}",
        "{\"os\":\"linux\",\"architecture\":\"arm64\"}",
        "{\"os\":\"linux\",\"architecture\":\"amd64\",\"config\":{\"Env\":[\"NOVALUE\"]}}",
        "{\"os\":\"linux\",\"architecture\":\"amd64\",\"config\":{\"Env\":[7]}}",
        "{\"os\":\"linux\",\"architecture\":\"amd64\",\"config\":{\"Cmd\":\"sh\"}}",
        "{\"os\":\"linux\",\"architecture\":\"amd64\",\"config\":{\"User\":\"a\\u0000b\"}}",
    };
    struct image_config config;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_int_equal(oci_parse_config(&arena, str_from(bad[i]), "amd64", &config, NULL), -1);
}

static void only_version_one_layouts_are_read(void **state)
{
    (void)state;
    assert_int_equal(oci_check_layout(&arena, STR("{\"imageLayoutVersion\":\"1.0.0\"}"), NULL), 0);
    assert_int_equal(oci_check_layout(&arena, STR("{\"imageLayoutVersion\":\"2.0.0\"}"), NULL), -1);
    assert_int_equal(oci_check_layout(&arena, STR("{}"), NULL), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_lower_case_words_and_never_digests),
        cmocka_unit_test(member_names_become_plain_relative_paths),
        cmocka_unit_test(member_names_that_could_leave_are_refused),
        cmocka_unit_test(member_names_have_limits),
        cmocka_unit_test(whiteouts_are_told_from_ordinary_names),
        cmocka_unit_test_setup_teardown(a_recipe_sets_what_it_names, setup, teardown),
        cmocka_unit_test_setup_teardown(a_wrong_line_of_a_recipe_is_named, setup, teardown),
        cmocka_unit_test_setup_teardown(a_configuration_is_written_one_way_only, setup, teardown),
        cmocka_unit_test_setup_teardown(a_configuration_takes_no_nul_bytes_and_has_limits, setup, teardown),
        cmocka_unit_test_setup_teardown(an_index_gives_the_image_of_this_architecture, setup, teardown),
        cmocka_unit_test_setup_teardown(an_index_of_several_images_needs_a_reference, setup, teardown),
        cmocka_unit_test_setup_teardown(indexes_that_are_not_as_they_must_be_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(a_manifest_lists_its_layers_in_order, setup, teardown),
        cmocka_unit_test_setup_teardown(manifests_of_other_things_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(an_oci_configuration_is_taken_over, setup, teardown),
        cmocka_unit_test_setup_teardown(oci_configurations_for_others_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(only_version_one_layouts_are_read, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
