/* graph.h: what is computed. A graph is a list of nodes; each is one op applied to earlier nodes, so creation
 * order is execution order and nothing is ever sorted. The page to read first.
 *
 *     graph *g = graph_new(d);
 *     node *x = graph_input(g, "x", F32, SHAPE(32, 10));
 *     node *y = node_keep(op_softmax(x, 1));                // read after the run
 *     if (graph_compile(g)) return -1;                      // plan memory, build kernels, bind arguments
 *     node_write(x, host); graph_run(g); node_read(y, host);
 *
 * Builders never fail at the call: the graph keeps the first complaint, with names and shapes, and
 * graph_compile returns it. Arrays are contiguous, row-major, last axis fastest.
 *
 * `make layers` checks that no file calls one that stands after it here:
 * Order: build dump plan exec
 */
#ifndef JETCL_GRAPH_H
#define JETCL_GRAPH_H
#include "dev/dev.h"

#define MAX_DIM 6
#define MAX_IN  8

struct shape { int nd; i64 d[MAX_DIM]; };
#define SHAPE(...) ((struct shape){ countof(((i64[]){ __VA_ARGS__ })), { __VA_ARGS__ } })
#define SCALAR     ((struct shape){ 0 })

typedef struct op op;
typedef struct node node;
typedef struct graph graph;
struct onnx;

struct node {
    const op    *op;
    graph       *g;
    int          id;                 /* position in g->nodes */
    struct shape shape;
    enum dtype   type;               /* of its elements: an op's result is F32, a view's as its operand's,
                                        until fuse/types.c decides what is stored in the graph's half type */
    int          n_in;
    node        *in[MAX_IN];
    void        *args;               /* op->args bytes, a copy in the graph's arena */
    const char  *name;               /* scope: "blocks.3.mlp.fc1"; with "'" in the backward part */
    bool         keep;               /* read after the run: its memory is not reused */
    bool         keep_f32;           /* stays F32: logits of a softmax, sums over the batch for parameters */
    bool         fixed;              /* `home` is given (parameters, inputs, gradients), not planned */
    node        *maker;              /* also writes these values (a fused product's second result) */
    range        home;               /* where the values lie: after graph_compile, for fixed nodes always */
    range        work;               /* op->scratch bytes, during this node only */
    struct { int from, to; } list;   /* its launches, [from, to) */
    /* plan.c: whose memory, how many bytes into it; the next of the same root, a root's last one */
    struct { node *root; u64 offset; int block; node *next, *last; } plan;
};

enum op_flags {
    OP_LEAF    = 1,                  /* no launches: parameters, inputs */
    OP_ALIAS   = 2,                  /* may share memory with in[0], at op->offset(n) elements */
    OP_INPLACE = 4,                  /* may write over in[0] if no later node reads it */
    OP_EFFECT  = 8,                  /* alive although no node reads it (optimiser) */
    OP_CONCAT  = 16,                 /* its values are its operands' in a row: they may be made in place */
    OP_DATA    = 32,                 /* (a leaf) its values differ from batch to batch */
};

struct op {
    const char *name;
    size_t      args;                                       /* sizeof its argument struct, 0: none */
    unsigned    flags;
    /* Fills *out from operands and args; NULL, or what is wrong (may be arena_printf'd in n->g->a). */
    const char *(*shape)(const node *n, struct shape *out);
    void        (*emit)(const node *n, launches *l);        /* appends kernel launches */
    /* Adjoints of all operands from g, the adjoint of n: nodes of the same op set, each of its operand's
       shape or of n's broadcast shape (the sweep sums it down). dx[i] stays NULL where none passes. No vjp:
       no gradient passes. */
    void        (*vjp)(node *n, node *g, node *dx[]);
    u64         (*scratch)(const node *n);                  /* bytes of work memory, NULL: none */
    i64         (*offset)(const node *n);                   /* OP_ALIAS: elements into in[0]; NULL: 0 */
    /* The same by plain loops in float64 (op/host.h), for the self-test. in: the operands' values, integers
     * as such. y comes as node_count(n) NANs: what stays NAN is not looked at. host_side: `side`, which n's
     * launches write too. */
    void        (*host)(const node *n, const f64 *const *in, f64 *y);
    void        (*host_side)(const node *n, const node *side, const f64 *const *in, f64 *y);
    f64         (*macs)(const node *n);                     /* multiply-adds, for `count`; NULL: 0 */
    const char *(*title)(const node *n);                    /* for messages and dumps; NULL: the name */
    /* The name of its value in ONNX, after adding the nodes that compute it (op/onnx.h). NULL: it has none. */
    const char *(*onnx)(const node *n, struct onnx *o);
};

/* Words of the step buffer, the one small write per step; kernels read it, arguments never change. A graph
 * that computes a part of a batch has BEFORE of its samples before it and OTHERS not in it: what is drawn for
 * a sample depends on its place in the batch, not in the part. */
enum step_word {
#define WORD(name) STEP_##name,
#include "cl/step_words.def"
#undef WORD
    STEP_WORDS = 16
};
typedef union { u32 u[STEP_WORDS]; f32 f[STEP_WORDS]; } step_words;

struct graph {
    arena      *a;
    dev        *d;                   /* NULL: only shapes matter (`count`), nothing can run */
    node      **nodes;
    size_t      n, cap;
    struct name_table fixed;              /* nodes of graph_fixed by name */
    enum dtype  half;                /* what activations are stored in: F32 (no change), F16 or BF16 */
    const char *complaint;           /* the first, or NULL */
    const char *scope;               /* name given to new nodes */
    u32         streams;             /* random streams handed out */
    bool        composed;            /* of simple ops where there is a choice: to be exported */
    node       *step;                /* STEP_WORDS words */
    pool       *inputs;              /* memory of inputs and of the step buffer */
    struct plan *plan;
    mem       **slabs;               /* planned activation memory */
    launches   *list;
};

/* ---- build.c ------------------------------------------------------------------------------------------- */

graph *graph_new(dev *d);
void   graph_free(graph *g);
int    graph_complain(graph *g, const char *fmt, ...) PRINTF(2, 3);    /* keeps the first; returns -1 */
/* Names of the nodes made from here: push "blocks.3", then "mlp", ...; pop gives the old scope back. */
const char *graph_push(graph *g, const char *fmt, ...) PRINTF(2, 3);
void   graph_pop(graph *g, const char *old);

/* A node for the op; args are copied. Operands may not be NULL. On errors: a complaint, and a
 * harmless node. */
node  *node_make(graph *g, const op *op, const void *args, node *const *in, int n_in);
#define NODES(...) (node *[]){ __VA_ARGS__ }, countof(((node *[]){ __VA_ARGS__ }))
#define node_new(op, args, ...) node_make(node_graph(__VA_ARGS__, 0), op, args, NODES(__VA_ARGS__))
#define node_graph(first, ...) ((first)->g)

node  *graph_input(graph *g, const char *name, enum dtype type, struct shape s);  /* uploaded by node_write */
node  *graph_fixed(graph *g, const char *name, enum dtype type, struct shape s, range home);
/* The same, written here and never again. In a plain graph its values are also at args. */
node  *graph_constant(graph *g, const char *name, struct shape s, const f32 *values);
node  *graph_step(graph *g);
u32    graph_stream(graph *g);                    /* a random stream of its own, for a dropout or a noise */
/* Does n, a fixed node, make values in r? */
bool   node_makes(const node *n, range r);
/* The id of the node after which n's values are there. */
int    node_ready(const node *n);
/* Moves the last node to after node number `after`: nothing is sorted but this. */
void   graph_hoist(graph *g, int after);
/* The host reads x, where the launches up to the list.to of this node are done; then x's memory is free. */
node  *node_offload(node *x);
/* Moves these up to where what they read is there, and no further than the one before. */
void   graph_offload_early(graph *g);
node  *node_keep(node *n);                        /* its values can be read after a run */
node  *node_keep_f32(node *n);                    /* never rounded to g->half: what a softmax is taken of */

i64    shape_count(struct shape s);               /* elements; 1 for a scalar */
bool   shape_equal(struct shape a, struct shape b);
/* The shape both broadcast to (numpy's rule: aligned at the last axis, 1 stretches); false: there is none. */
bool   shape_broadcast(struct shape a, struct shape b, struct shape *out);
const char *shape_text(arena *a, struct shape s); /* "[64 197 192]" */
i64    node_count(const node *n);
u64    node_bytes(const node *n);
/* Of each node, by id: do its values depend on an input? In g's arena. */
bool  *graph_data(const graph *g);
#define ARG_NODE(n) ARG_TYPED((n)->home, (n)->type)         /* for launch.args */
const char *node_title(const node *n);
i64    node_dim(const node *n, int i);            /* axis i, from the end when negative; 1 beyond the first */

/* ---- plan.c, exec.c, dump.c ---------------------------------------------------------------------------- */

/* Liveness -> one memory for all activations. Blocks are placed in slabs no larger than an allocation may be.
 * Called by graph_compile; needs no device. */
struct block {
    node *owner;
    bool work;                                    /* its scratch, not its values */
    int from, to;                                 /* alive in launches of nodes [from, to] */
    u64 bytes, at;
    int slab;
};
struct plan { struct block *blocks; int n; u64 *slab_bytes; int n_slabs; u64 planned, unplanned; };
void   plan_build(graph *g);
/* Does n share in[0]'s memory (a view at an aligned offset)? If not, its emit copies. Valid once planned. */
bool   plan_aliased(const node *n);
/* Plans, emits launches, builds programs. -1 + fail(FAULT_USAGE for a complaint, FAULT_DEVICE otherwise). */
int    graph_compile(graph *g);
int    graph_run(graph *g);                       /* enqueues the list; does not wait */
int    graph_run_marks(graph *g, struct mark *m, int n);        /* launches_run_marks */
int    graph_run_part(graph *g, int from, int to);               /* launches [from, to) alone */
int    graph_last(const graph *g, range r);      /* how many of its launches make r's values: fixed nodes' */
int    graph_set_step(graph *g, const step_words *w);   /* enqueued; *w stays as it is until a later fence */
int    node_write(node *n, const void *host);     /* blocking */
int    node_read(const node *n, void *host);      /* blocking; waits for the run. Halves come as f32 */
int    graph_find_nan(graph *g);                  /* names the first node with a NaN or infinity: -1 + fail */
void   graph_dump(const graph *g, FILE *f);       /* one node per line */
void   graph_dump_dot(const graph *g, FILE *f);
void   graph_dump_plan(const graph *g, FILE *f);
void   graph_dump_launches(const graph *g, FILE *f);

#endif
