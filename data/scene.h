/* scene.h: a picture of a class of the demo's sets.
 *
 *     rng r = rng_at(SEED, RNG_RENDER, number, 0);
 *     if (image_room(a, &m, 48, 40)) return -1;
 *     scene_draw((struct kind){ DISC, STRIPES, ONE }, &r, &m);
 */
#ifndef JETCL_SCENE_H
#define JETCL_SCENE_H
#include "data/image.h"

enum shape   { DISC, TRIANGLE, STAR, CROSS, MOON, SQUARE, HEXAGON, RING, ARROW, DROP, HALF, BAR, SHAPES };
enum texture { PLAIN, STRIPES, CHECKER, DOTS, RINGS, TEXTURES };
enum layout  { ONE, PAIR, ROW, CIRCLE, GRID, LAYOUTS };
struct kind { u8 shape, texture, layout; };

extern const char *const shape_names[], *const texture_names[], *const layout_names[];

/* Fills m, which has its size and memory (image_room), with a picture
 * of the class; r: where the random draws come from. */
void scene_draw(struct kind k, rng *r, struct image *m);

#endif
