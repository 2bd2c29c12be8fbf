// Commands of btf_peer that make a blob.

#include <errno.h>
#include <string.h>

#include "btf_peer.h"
#include "json.h"

#if AT_LEAST(5)
#define ext_raw_data btf_ext__raw_data
#else
#define ext_raw_data btf_ext__get_raw_data
#endif

int raw_command(int count, char **args, struct btf *base)
{
	struct btf *btf = load(args[0], base, NULL);
	int status;

	if (!btf)
		return failed_with(errno);
	if (count == 3)
		btf__set_endianness(btf, strcmp(args[2], "big") ? BTF_LITTLE_ENDIAN : BTF_BIG_ENDIAN);
	status = put_result(args[1], btf);
	btf__free(btf);
	return status;
}

int append_command(int count, char **args, struct btf *base)
{
	struct btf *btf = load(args[0], base, NULL), *other = btf ? use(args[1], base) : NULL;
	int status, error = other ? 0 : errno;

	(void)count;
	if (other && btf__add_btf(btf, other) < 0)
		error = errno;
	status = error ? failed_with(error) : put_result(args[2], btf);
	btf__free(btf);
	return status;
}

int dedup_command(int count, char **args, struct btf *base)
{
	LIBBPF_OPTS(btf_dedup_opts, options);
	struct btf_ext *ext = NULL;
	struct btf *btf = load(args[0], base, count == 3 ? &ext : NULL);
	int error = btf ? 0 : errno;

	if (!error && count == 3 && !ext)
		error = ENOENT;
	options.btf_ext = ext;
	if (!error)
		error = -btf__dedup(btf, &options);
	begin('{');
	if (!error)
		error = put_blob("result", args[1], btf);
	if (!error && ext) {
		__u32 size = 0;
		const void *bytes = ext_raw_data(ext, &size);

		error = write_out("ext_hex", args[2], bytes, size);
	}
	if (error)
		put_error(error);
	end('}');
	btf_ext__free(ext);
	btf__free(btf);
	return error ? 1 : 0;
}

int dedup_twice_command(int count, char **args, struct btf *base)
{
	struct btf *btf = load(args[0], base, NULL), *other = btf ? use(args[0], base) : NULL;
	int status, error = other ? 0 : errno;

	(void)count;
	if (!error && btf__add_btf(btf, other) < 0)
		error = errno;
	if (!error)
		error = -btf__dedup(btf, NULL);
	status = error ? failed_with(error) : put_result(args[1], btf);
	btf__free(btf);
	return status;
}

#if AT_LEAST(5)
int distill_command(int count, char **args, struct btf *base)
{
	struct btf *old = use(args[1], base), *split = old ? use(args[0], old) : NULL;
	struct btf *new_base = NULL, *new_split = NULL;
	int error = split ? 0 : errno;

	(void)count;
	if (!error)
		error = -btf__distill_base(split, &new_base, &new_split);
	begin('{');
	if (!error)
		error = put_blob("base", args[2], new_base);
	if (!error)
		error = put_blob("split", args[3], new_split);
	if (error)
		put_error(error);
	end('}');
	btf__free(new_split);
	btf__free(new_base);
	return error ? 1 : 0;
}

int relocate_command(int count, char **args, struct btf *base)
{
	struct btf *old = use(args[1], base), *new_base = old ? use(args[2], base) : NULL;
	struct btf *split = new_base ? load(args[0], old, NULL) : NULL;
	int status, error = split ? 0 : errno;

	(void)count;
	if (!error)
		error = -btf__relocate(split, new_base);
	status = error ? failed_with(error) : put_result(args[3], split);
	btf__free(split);
	return status;
}

int redistill_command(int count, char **args, struct btf *base)
{
	struct btf *old = use(args[1], base), *new_base = old ? use(args[2], base) : NULL;
	struct btf *split = new_base ? load(args[0], old, NULL) : NULL;
	struct btf *distilled = NULL, *moved = NULL;
	int status, error = split ? 0 : errno;

	(void)count;
	if (!error)
		error = -btf__distill_base(split, &distilled, &moved);
	if (!error)
		error = -btf__relocate(moved, new_base);
	status = error ? failed_with(error) : put_result(args[3], moved);
	btf__free(moved);
	btf__free(distilled);
	btf__free(split);
	return status;
}
#else
static int needs_newer(void)
{
	return failed_with(EOPNOTSUPP);
}

int distill_command(int count, char **args, struct btf *base)
{
	return (void)count, (void)args, (void)base, needs_newer();
}

int relocate_command(int count, char **args, struct btf *base)
{
	return (void)count, (void)args, (void)base, needs_newer();
}

int redistill_command(int count, char **args, struct btf *base)
{
	return (void)count, (void)args, (void)base, needs_newer();
}
#endif
