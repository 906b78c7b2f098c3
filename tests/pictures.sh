# pictures.sh: for scripts: pictures to train on. Sourced before they leave the tree's root.

bmp() { # bmp FILE RED GREEN BLUE: a picture of one colour, 8 x 8 pixels, its channels in octal
    mkdir -p "${1%/*}"
    row="\\$4\\$3\\$2"; row=$row$row$row$row; row=$row$row
    { printf 'BM\366\0\0\0\0\0\0\0\066\0\0\0\050\0\0\0\010\0\0\0\010\0\0\0\001\0\030'
      printf '\0\0\0\0\0\300\0\0\0\0\0\0\0\0\0\0\0'
      printf '\0\0\0\0\0\0\0\0'; printf "$row$row$row$row$row$row$row$row"; } >"$1"
}
