# jetcl. `make help` lists the targets. Sources are found by wildcard; config.mak comes from ./configure.
.DEFAULT_GOAL := all
MAKEFLAGS += --no-builtin-rules
ifeq ($(MAKELEVEL),0)                         # -jN of the command line wins
MAKEFLAGS += -j$(shell nproc 2>/dev/null || echo 1)
endif
ifeq ($(filter help clean size,$(MAKECMDGOALS)),)
include config.mak
endif

# As root the missing packages are installed, those of the tests when these are made for the first time; else
# configure prints the one line to run.
TESTING := $(filter test tests asan tsan coverage torture soak mutants check-%,$(MAKECMDGOALS))
WITHOUT := $(if $(TESTING),$(shell grep -l 'install-deps=program' config.mak 2>/dev/null))
config.mak: configure $(if $(WITHOUT),FORCE)
	@./configure $$([ "$$(id -u)" = 0 ] && echo --install-deps$(if $(TESTING),,=program))
	@touch $@                                # configure leaves one that is still right as old as it was

B        ?= build
STD      := -std=c11 -D_GNU_SOURCE -ffp-contract=off
WARN     := -Wall -Wextra -Wno-missing-field-initializers -Wno-override-init -Wstrict-prototypes -Wvla
OPTIONS   = $(STD) $(WARN) $(CFLAGS) $(SAN) $(FEATURES) -Icore -I. -I$(B)/gen $(LIB_CFLAGS)
COMPILE   = $(CC) $(OPTIONS) -MMD -MP
SOURCES  := $(wildcard core/*/*.c data/*.c)
OBJECTS  := $(SOURCES:%.c=$(B)/%.o) $(B)/gen/kernels.o $(B)/gen/version.o \
            $(if $(findstring HAVE_ONNX,$(FEATURES)),$(B)/gen/onnx.pb-c.o)
LIBRARY  := $(filter-out $(B)/core/cli/main.o,$(OBJECTS))
KERNELS  := $(wildcard cl/*.cl cl/*.h cl/act.def cl/*_flags.def cl/*_words.def cl/cpu/*.cl cl/gpu/*.cl)
TESTS    := $(patsubst tests/%.c,$(B)/tests/%,$(wildcard tests/test_*.c))
T        ?=

# Quiet lines, `CC core/op/softmax.c`; V=1 shows the commands. $(call do,CC,command,what is shown)
do = $(if $(V),$2,@echo '$1 $3'; $2)

all: $(if $(wildcard core/cli/main.c),$(B)/jetcl,$(B)/libjetcl.a)   ## build the program
$(B)/jetcl: $(OBJECTS)
	$(call do,LD,$(CC) $(CFLAGS) $(SAN) $(LDFLAGS) -o $@ $^ $(LIBS),$@)
# What is compiled with other options is compiled again; a configure that finds only a test's tool more is not.
$(B)/options: FORCE
	@mkdir -p $(@D); echo '$(filter-out ccache,$(CC)) $(OPTIONS)' | cmp -s - $@ || \
	    echo '$(filter-out ccache,$(CC)) $(OPTIONS)' >$@
$(B)/%.o: %.c $(B)/options
	@mkdir -p $(@D)
	$(call do,CC,$(COMPILE) -c -o $@ $<,$<)
$(B)/gen/%.o: $(B)/gen/%.c
	$(call do,CC,$(COMPILE) -c -o $@ $<,$<)
$(B)/libjetcl.a: $(LIBRARY)
	@rm -f $@
	$(call do,AR,ar rcs $@ $^,$@)
$(B)/tests/%.o: tests/%.c
	@mkdir -p $(@D)
	$(if $(strip $(TEST_LIBS)),,$(error the tests need cmocka: apt-get install libcmocka-dev, then ./configure))
	$(call do,CC,$(COMPILE) -Itests -c -o $@ $<,$<)
$(B)/tests/%: $(B)/tests/%.o $(B)/libjetcl.a
	$(call do,LD,$(CC) $(CFLAGS) $(SAN) $(LDFLAGS) -o $@ $^ $(TEST_LIBS) $(LIBS),$@)
.SECONDARY: $(TESTS:=.o)

# Kernel text becomes C strings, one per line; source.c puts a #line before each file.
$(B)/gen/kernels.c: $(KERNELS) Makefile
	@mkdir -p $(@D)
	@{ echo '#include "dev/source.h"'; echo 'const struct source_file source_files[] = {'; \
	   for f in $(KERNELS); do echo "{ \"$$f\","; sed 's/\\/\\\\/g; s/"/\\"/g; s/^/  "/; s/$$/\\n"/' $$f; \
	     echo '},'; done; \
	   echo '{ 0, 0 } };'; } > $@
# Messages of ONNX, from the schema; where protobuf-c is not there nothing includes them.
$(B)/gen/%.pb-c.c $(B)/gen/%.pb-c.h: core/export/%.proto
	@mkdir -p $(@D)
	@protoc-c --proto_path=core/export --c_out=$(B)/gen $<
ifneq ($(findstring HAVE_ONNX,$(FEATURES)),)
$(B)/core/export/onnx_file.o $(B)/tests/test_export.o $(B)/tests/test_exported.o: $(B)/gen/onnx.pb-c.h
endif
$(B)/gen/version.c: FORCE
	@mkdir -p $(@D)
	@v=$$(git describe --always --dirty 2>/dev/null || echo release); \
	 echo "const char jetcl_git[] = \"$$v\", jetcl_libraries[] = \"$(LIBRARIES)\";" > $@.new; \
	 cmp -s $@.new $@ 2>/dev/null && rm $@.new || mv $@.new $@
FORCE:

demo: $(B)/jetcl                             ## the whole pipeline, in four minutes on two cores
	$(B)/jetcl table experiments/tables/demo.yaml $(DEMO_OPTIONS)

test: $(B)/jetcl $(TESTS) $(B)/faults.so     ## unit tests, and the program as a user runs it; T=ops: some
	@sh tests/run.sh $(B) $(T)
tests: $(TESTS) $(B)/faults.so
$(B)/faults.so: tests/faults.c
	@mkdir -p $(@D)
	$(call do,CC,$(CC) $(WARN) -O1 -shared -fPIC -o $@ $< -ldl,$<)

TORTURE ?= 25
torture: $(B)/jetcl $(B)/faults.so       ## faults, kills and races against a small run: TORTURE=N rounds, SEED=
	@python3 -B tests/torture.py --build $(B) --rounds $(TORTURE) --seed $(SEED)
torture-ranks: $(B)/jetcl            ## ranks of small jobs are killed, and resumed: TORTURE=N kills, SEED=
	@python3 -B tests/ranks.py --build $(B) --kills $(TORTURE) --seed $(SEED)

RACED = $(patsubst %,$(B)/tests/test_%,ops feed fuse init)
check-races: $(RACED)                        ## data races and bounds of every kernel, under oclgrind
	@RACES=1 sh tests/run.sh $(B) races

check-gpu: $(B)/jetcl                       ## what vendors' compilers make of the GPU kernels; GPU="--short -v"
	@python3 tests/gpu/check.py --jetcl $(B)/jetcl --out $(B)/gpu $(GPU)

check-cpu: $(B)/jetcl   ## what clang makes of the CPU kernels for AVX-512, AVX2, SSE, NEON; CPU="--target avx2"
	@python3 tests/cpu/check.py --jetcl $(B)/jetcl --out $(B)/cpu $(CPU)

PYTHON ?= python3
check-python: $(B)/jetcl                   ## PyTorch, NumPy, timm and the reference read what we write; PYTHON=
	@mkdir -p $(B)/python $(B)/log
	@$(PYTHON) -B tests/check_python.py $(B)/jetcl $(B)/python >$(B)/log/python.txt; rc=$$?; \
	 cat $(B)/log/python.txt; [ $$rc = 0 ] && ! grep -q '^not ok' $(B)/log/python.txt

ASAN := -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
asan:                                        ## unit tests under address and undefined-behaviour sanitizers
	$(MAKE) B=build/asan tests build/asan/jetcl SAN="$(ASAN)"
	ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 sh tests/run.sh build/asan $(T)

asan-ranks:                                  ## jobs of several ranks under the same sanitizers, leaks included
	$(MAKE) B=build/asan build/asan/jetcl SAN="$(ASAN)"
	$(CC) -O1 -shared -fPIC -o build/asan/keep.so tests/keep.c
	LSAN_OPTIONS=suppressions=$(CURDIR)/tests/lsan.supp:print_suppressions=0 UBSAN_OPTIONS=print_stacktrace=1 \
	  ASAN_OPTIONS=detect_leaks=1:fast_unwind_on_malloc=0:verify_asan_link_order=0 \
	  LD_PRELOAD=$(CURDIR)/build/asan/keep.so sh tests/run.sh build/asan $(or $(T),dist)

TSAN_TESTS = $(or $(T),data_loader say loop train signals owner)
tsan:                            ## threads that load, save and wait for signals under ThreadSanitizer; T=
	$(MAKE) B=build/tsan SAN="-fsanitize=thread -fno-omit-frame-pointer" build/tsan/jetcl build/tsan/faults.so \
	  $(patsubst tests/%.c,build/tsan/tests/%,$(wildcard $(patsubst %,tests/test_%.c,$(TSAN_TESTS))))
	TSAN_OPTIONS="suppressions=$(CURDIR)/tests/tsan.supp die_after_fork=0" \
	  sh tests/run.sh build/tsan $(TSAN_TESTS)

MINUTES ?= 360
soak: $(B)/jetcl                 ## small cells in one process for MINUTES=: memory, descriptors, step time flat
	@python3 -B tests/soak.py --build $(B) --minutes $(MINUTES)

coverage:                                ## lines and branches that the tests reach, per folder; T=spec for some
	$(MAKE) B=build/coverage CFLAGS="-O0 -g0" SAN=--coverage build/coverage/jetcl tests
	python3 -B tests/coverage.py build/coverage $(T)

N    ?= 20
SEED ?= 1
mutants:                          ## plant N faults at random, tell which no test notices; SEED=, DIR=core/train
	@python3 -B tests/mutants.py --count $(N) --seed $(SEED) $(addprefix --dir ,$(DIR))

FUZZ_TARGETS = safetensors archive npy pickle legacy onnx beside numpy index mmengine image mat records lists \
               webp bmp state statistics metrics result tuning experiment table
FUZZ_TIME   ?= 600
FUZZ_SAN     = address,undefined -fno-sanitize-recover=undefined
FUZZ_LIMITS  = -max_total_time=$(FUZZ_TIME) -timeout=10 -rss_limit_mb=1024
fuzz:                                ## the readers of files under libFuzzer; T=pickle for one, FUZZ_TIME=s each
	@mkdir -p build/fuzz
	$(MAKE) B=build/fuzz CC="$(or $(FUZZ_CC),clang)" CFLAGS="-O1 -g -Wno-unknown-warning-option" \
	  SAN="-fsanitize=fuzzer-no-link,$(FUZZ_SAN)" build/fuzz/libjetcl.a
	clang -O1 -g $(STD) $(WARN) -Wno-unknown-warning-option -Icore -I. -Itests $(FEATURES) $(LIB_CFLAGS) \
	  -fsanitize=fuzzer,$(FUZZ_SAN) -o build/fuzz/fuzz tests/fuzz/fuzz.c build/fuzz/libjetcl.a $(LIBS)
	@for t in $(or $(T),$(FUZZ_TARGETS)); do \
	   mkdir -p build/fuzz/$$t; tar xf tests/fuzz/corpus/$$t.tar -C build/fuzz/$$t || exit 1; \
	   echo "fuzz: $$t for $(FUZZ_TIME) s"; \
	   FUZZ_TARGET=$$t build/fuzz/fuzz build/fuzz/$$t $(FUZZ_LIMITS) -print_final_stats=1 \
	     -artifact_prefix=build/fuzz/$$t- >build/fuzz/$$t.log 2>&1 \
	     || { tail -n 60 build/fuzz/$$t.log; exit 1; }; \
	   grep 'number_of_executed_units\|peak_rss' build/fuzz/$$t.log; done

check-cl:                                    ## syntax of every kernel, with clang alone
	@for f in $(filter %.cl,$(KERNELS)); do \
	   clang -x cl -cl-std=CL1.2 -Xclang -finclude-default-header -fsyntax-only -Wall -Icl \
	     -include cl/prelude.h $$f || exit 1; done; echo "kernels: ok"

# Lines of at most 112 columns, README's 100; tables of documents apart.
columns:                                     ## no line is too long
	@bad=$$(export LC_ALL=C.UTF-8; \
	  find core cl data tests packaging .ci .github -type f -regex \
	    '.*\.\(c\|h\|cl\|def\|sh\|py\|awk\)' -exec grep -nHE '^.{113}' {} +; \
	  grep -nHE '^.{113}' Makefile configure; grep -nHE '^[^|].{100}' README.md; \
	  find . -name build -prune -o -name '*.md' -type f -exec grep -nHE '^[^|].{112}' {} +); \
	[ -z "$$bad" ] || { echo "$$bad" | cut -c1-200; echo 'these lines have more than 112 columns'; exit 1; }

# A file of core/ includes its own folder and those before it in this list; data/ sits beside spec.
LAYERS := base spec ckpt dev data dist graph op autograd fuse nn model export log train recycle bench study cli
# Inside a folder whose header has `Order:` lines no file calls one that stands after it there.
layers: $(OBJECTS) columns      ## no include or call runs up the floors; a name means one function, one file
	@fail=0; seen=; for layer in $(LAYERS); do \
	   seen="$$seen|$$layer"; dir=core/$$layer; [ $$layer = data ] && dir=data; \
	   bad=$$(grep -n '^#include "[a-z]*/' $$dir/*.[ch] 2>/dev/null | grep -vE "\"($${seen#|}|cl)/"); \
	   [ -z "$$bad" ] || { echo "$$bad"; fail=1; }; done; \
	 bad=$$(grep -ln 'CL/cl' core/*/*.[ch] data/*.[ch] 2>/dev/null | grep -v core/dev/); \
	 [ -z "$$bad" ] || { echo "OpenCL outside core/dev: $$bad"; fail=1; }; \
	 for header in $$(grep -l '^ \* Order: ' core/*/*.h); do dir=$${header%/*}; \
	   objects=$$(cd $$dir && ls *.c | sed 's/c$$/o/'); \
	   (cd $(B)/$$dir && nm -A -P $$objects) | awk -v dir=$$dir -f tests/order.awk \
	     -v order="$$(sed -n 's/^ \* Order: //p' $$header | tr '\n' ' ')" || fail=1; done; \
	 bad=$$(grep -E '^[a-z][A-Za-z_0-9 *]*[ *][a-z_0-9]+\(' core/*/*.c data/*.c | grep -v ';$$' | \
	   sed 's/^\([^:]*\):[A-Za-z_0-9 *]*[ *]\([a-z_0-9]*\)(.*/\1 \2/' | sort -u | cut -d' ' -f2 | \
	   sort | uniq -d); \
	 [ -z "$$bad" ] || { echo "functions of two files have one name: "$$bad; fail=1; }; \
	 bad=$$(ls core/*/*.c data/*.c | sed 's/.*\///' | sort | uniq -d); \
	 [ -z "$$bad" ] || { echo "two files have one name: "$$bad; fail=1; }; \
	 [ $$fail = 0 ] && echo "layers: ok"

lint:                                        ## both compilers, warnings as errors
	$(MAKE) B=build/lint-gcc CC=gcc CFLAGS="-O2 -Werror" build/lint-gcc/jetcl tests
	$(MAKE) B=build/lint-clang CC=clang CFLAGS="-O1 -Werror" build/lint-clang/jetcl tests
bench: $(B)/jetcl                            ## kernels and whole steps; T=matmul for some
	$(B)/jetcl bench $(T)
size:                                        ## lines per folder
	@for d in core/* cl data tests; do \
	   printf '%7d %s\n' $$(cat $$(find $$d -name '*.[chl]*' -type f) /dev/null | wc -l) $$d; done
# The program finds its experiments from its own place: an installation can be moved.
bin     = $(DESTDIR)$(prefix)/bin
share   = $(DESTDIR)$(prefix)/share
man     = $(share)/man/man1/jetcl.1
bashdir = $(share)/bash-completion/completions
zshdir  = $(share)/zsh/site-functions
fishdir = $(share)/fish/vendor_completions.d
install: $(B)/jetcl                      ## program, experiments, manual page, completions into prefix; DESTDIR=
	install -d $(bin) $(dir $(man)) $(bashdir) $(zshdir) $(fishdir)
	install -m 755 $(B)/jetcl $(bin)/jetcl
	@echo install experiments into $(share)/jetcl
	@cd experiments && to=$(abspath $(share))/jetcl/experiments && \
	 find . -type f ! -name '*.sh' -exec install -D -m 644 {} $$to/{} \; && \
	 find . -type f -name '*.sh' -exec install -D -m 755 {} $$to/{} \;
	$(B)/jetcl help --man >$(man)
	$(B)/jetcl help --completion bash >$(bashdir)/jetcl
	$(B)/jetcl help --completion zsh >$(zshdir)/_jetcl
	$(B)/jetcl help --completion fish >$(fishdir)/jetcl.fish
uninstall:                                   ## remove what install put there
	rm -f $(bin)/jetcl $(man) $(bashdir)/jetcl $(zshdir)/_jetcl $(fishdir)/jetcl.fish
	rm -rf $(share)/jetcl
deb: $(B)/jetcl                              ## a Debian package, build/jetcl_VERSION_ARCH.deb
	@MAKE="$(MAKE)" sh packaging/deb.sh $(B)
clean:                                       ## remove build/
	rm -rf build
help:
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 20
.PHONY: all demo test tests torture torture-ranks soak asan asan-ranks tsan coverage mutants fuzz \
        check-cl check-races check-gpu check-cpu check-python columns layers lint bench size install \
        uninstall deb clean help FORCE
-include $(OBJECTS:.o=.d) $(TESTS:=.d)
