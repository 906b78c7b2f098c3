/* onnx_file.c: nodes and tensors as a file, by protobuf-c and the schema onnx.proto. */
#include "export/export.h"
#include <errno.h>

#ifndef HAVE_ONNX
int export_built(void)
{
    return fail(FAULT_USAGE, "jetcl was built without protobuf-c, so it cannot write ONNX: apt-get install "
                "libprotobuf-c-dev protobuf-c-compiler, then ./configure && make");
}

int onnx_save(const struct onnx_model *m, arena *a, const char *path)
{
    (void)m, (void)a, (void)path;
    return export_built();
}
#else
#include "onnx.pb-c.h"

#define APART ((u64)1 << 30)                      /* a message may have two gigabytes */
#define ALIGN 4096                                /* of a tensor in the file beside, so that it can be mapped */

int export_built(void) { return 0; }

/* n new messages of a kind, as the list that a repeated field points to; one alone. */
static void *onnx_new(arena *a, size_t n, const ProtobufCMessageDescriptor *kind)
{
    void **list = arena_array(a, void *, n + 1);
    u8 *all = arena_bytes(a, kind->sizeof_message * (n + 1), 16);
    for (size_t i = 0; i < n; i++)
        protobuf_c_message_init(kind, list[i] = all + i * kind->sizeof_message);
    return list;
}

static void *onnx_one(arena *a, const ProtobufCMessageDescriptor *kind)
{
    return *(void **)onnx_new(a, 1, kind);
}

static Onnx__StringStringEntryProto **onnx_pairs(arena *a, size_t n)
{
    return onnx_new(a, n, &onnx__string_string_entry_proto__descriptor);
}

/* ---- nodes --------------------------------------------------------------------------------------------- */

static void onnx_put_attr(const struct onnx_attr *from, Onnx__AttributeProto *to)
{
    to->name = (char *)from->name;
    to->has_type = true;
    switch (from->kind) {
    case ATTR_INT:
        to->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT;
        to->has_i = true;
        to->i = from->i;
        break;
    case ATTR_REAL:
        to->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT;
        to->has_f = true;
        to->f = from->f;
        break;
    case ATTR_INTS:
        to->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS;
        to->n_ints = (size_t)from->n;
        to->ints = (int64_t *)from->ints;
        break;
    case ATTR_REALS:
        to->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOATS;
        to->n_floats = (size_t)from->n;
        to->floats = (float *)from->reals;
        break;
    }
}

static void onnx_put_node(arena *a, struct onnx_node *from, Onnx__NodeProto *to)
{
    bool sorts = !strcmp(from->type, "TopK");
    to->name = (char *)from->name;
    to->op_type = (char *)from->type;
    to->n_input = (size_t)from->n_in;
    to->input = (char **)from->in;
    to->n_output = sorts ? 2 : 1;                 // the second, places, is not read
    to->output = arena_array(a, char *, 2);
    to->output[0] = (char *)from->out;
    to->output[1] = sorts ? arena_printf(a, "%s:places", from->out) : NULL;
    to->n_attribute = (size_t)from->n_attr;
    to->attribute = onnx_new(a, to->n_attribute, &onnx__attribute_proto__descriptor);
    for (int i = 0; i < from->n_attr; i++)
        onnx_put_attr(&from->attr[i], to->attribute[i]);
}

/* ---- tensors ------------------------------------------------------------------------------------------- */

static void onnx_put_place(arena *a, const char *file, u64 at, u64 bytes, Onnx__TensorProto *to)
{
    const struct { const char *key, *value; } row[] = { { "location", file },
        { "offset", arena_printf(a, "%llu", (unsigned long long)at) },
        { "length", arena_printf(a, "%llu", (unsigned long long)bytes) } };
    to->external_data = onnx_pairs(a, to->n_external_data = countof(row));
    for (int i = 0; i < countof(row); i++) {
        to->external_data[i]->key = (char *)row[i].key;
        to->external_data[i]->value = (char *)row[i].value;
    }
    to->has_data_location = true;
    to->data_location = ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL;
}

/* Its values into the message, or at `at` of the file beside. */
static int onnx_put_tensor(arena *a, const tensor *t, struct file_out *beside, u64 *at, const char *file,
                           Onnx__TensorProto *to)
{
    static const char zeros[ALIGN];
    const void *data = tensor_data(t);
    if (!data)
        return -1;
    to->name = (char *)t->name;
    to->has_data_type = true;
    to->data_type = t->type == CKPT_F16 ? ONNX_HALF : ONNX_FLOAT;
    to->n_dims = (size_t)t->nd;
    to->dims = (int64_t *)t->shape;
    if (!beside->f) {
        to->has_raw_data = true;
        to->raw_data = (ProtobufCBinaryData){ (size_t)t->bytes, (u8 *)data };
        return 0;
    }
    onnx_put_place(a, file, *at, t->bytes, to);
    u64 end = ROUND_UP(*at + t->bytes, (u64)ALIGN);
    fwrite(data, 1, (size_t)t->bytes, beside->f);
    fwrite(zeros, 1, (size_t)(end - *at - t->bytes), beside->f);
    *at = end;
    tensor_drop(t);
    return 0;
}

static u64 onnx_bytes(const ckpt *c)
{
    u64 bytes = 0;
    for (int i = 0; i < ckpt_count(c); i++)
        bytes += ckpt_at(c, i)->bytes;
    return bytes;
}

static int onnx_put_tensors(arena *a, const ckpt *c, struct file_out *beside, const char *file,
                            Onnx__GraphProto *g)
{
    u64 at = 0;
    g->n_initializer = (size_t)ckpt_count(c);
    g->initializer = onnx_new(a, g->n_initializer, &onnx__tensor_proto__descriptor);
    for (int i = 0; i < ckpt_count(c); i++)
        if (onnx_put_tensor(a, ckpt_at(c, i), beside, &at, file, g->initializer[i]))
            return -1;
    return 0;
}

/* ---- the model ----------------------------------------------------------------------------------------- */

static Onnx__ValueInfoProto **onnx_put_port(arena *a, const struct onnx_port *from)
{
    Onnx__ValueInfoProto **to = onnx_new(a, 1, &onnx__value_info_proto__descriptor);
    Onnx__TypeProto *type = onnx_one(a, &onnx__type_proto__descriptor);
    Onnx__TypeProto__Tensor *t = onnx_one(a, &onnx__type_proto__tensor__descriptor);
    Onnx__TensorShapeProto *s = onnx_one(a, &onnx__tensor_shape_proto__descriptor);
    s->n_dim = (size_t)from->shape.nd;
    s->dim = onnx_new(a, s->n_dim, &onnx__tensor_shape_proto__dimension__descriptor);
    s->dim[0]->dim_param = "batch";
    for (int i = 1; i < from->shape.nd; i++) {
        s->dim[i]->has_dim_value = true;
        s->dim[i]->dim_value = from->shape.d[i];
    }
    t->has_elem_type = true;
    t->elem_type = from->half ? ONNX_HALF : ONNX_FLOAT;
    t->shape = s;
    type->tensor_type = t;
    to[0]->name = (char *)from->name;
    to[0]->type = type;
    return to;
}

static void onnx_put_graph(arena *a, const struct onnx_model *m, Onnx__GraphProto *g)
{
    g->name = "jetcl";
    g->n_node = m->graph->n;
    g->node = onnx_new(a, g->n_node, &onnx__node_proto__descriptor);
    for (size_t i = 0; i < m->graph->n; i++)
        onnx_put_node(a, m->graph->list[i], g->node[i]);
    g->n_input = g->n_output = 1;
    g->input = onnx_put_port(a, &m->in);
    g->output = onnx_put_port(a, &m->out);
}

static void onnx_put_meta(arena *a, const ckpt *c, Onnx__ModelProto *to)
{
    to->n_metadata_props = (size_t)ckpt_meta_count(c);
    to->metadata_props = onnx_pairs(a, to->n_metadata_props);
    for (int i = 0; i < ckpt_meta_count(c); i++) {
        const char *value;
        to->metadata_props[i]->key = (char *)ckpt_meta_at(c, i, &value);
        to->metadata_props[i]->value = (char *)value;
    }
}

struct stream { ProtobufCBuffer base; FILE *f; };

static void onnx_append(ProtobufCBuffer *b, size_t n, const u8 *bytes)
{
    fwrite(bytes, 1, n, ((struct stream *)b)->f);
}

static int onnx_pack(const Onnx__ModelProto *m, const char *path)
{
    struct file_out o;
    if (file_begin(&o, path))
        return -1;
    struct stream to = { { onnx_append }, o.f };
    protobuf_c_message_pack_to_buffer(&m->base, &to.base);
    return file_commit(&o);
}

int onnx_save(const struct onnx_model *m, arena *a, const char *path)
{
    Onnx__ModelProto model = ONNX__MODEL_PROTO__INIT;
    Onnx__GraphProto graph = ONNX__GRAPH_PROTO__INIT;
    Onnx__OperatorSetIdProto set = ONNX__OPERATOR_SET_ID_PROTO__INIT, *sets[] = { &set };
    struct file_out beside = { 0 };
    const char *data = arena_printf(a, "%s.data", path), *slash = strrchr(data, '/');
    if (onnx_bytes(m->weights) > APART && file_begin(&beside, data))
        return -1;
    if (onnx_put_tensors(a, m->weights, &beside, slash ? slash + 1 : data, &graph)) {
        if (beside.f)
            file_abort(&beside);
        return -1;
    }
    if (beside.f && file_commit(&beside))
        return -1;
    onnx_put_graph(a, m, &graph);
    onnx_put_meta(a, m->weights, &model);
    set.domain = "";
    set.has_version = model.has_ir_version = true;
    set.version = 17;
    model.ir_version = 8;
    model.producer_name = "jetcl";
    model.producer_version = JETCL_VERSION;
    model.n_opset_import = 1;
    model.opset_import = sets;
    model.graph = &graph;
    return onnx_pack(&model, path);
}
#endif
