/** `kernel`, and `--kernel`, `--btf` and `--kconfig` of the other commands, in this process: no privileges are needed. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import * as Zlib from "node:zlib"
import * as Btf from "../../../src/btf/Btf.ts"
import * as BtfEdit from "../../../src/btf/BtfEdit.ts"
import * as Feature from "../../../src/services/Kernel/Feature.ts"
import * as KernelProfile from "../../../src/services/Kernel/KernelProfile.ts"
import { command } from "../../support/InProcess.ts"
import { repository, temporaryFolder } from "../../support/Require.ts"

const fixture = (name: string) => Path.join(repository, "test/fixtures", name)

/** A kernel whose `task_struct` has its members where the option says. */
const types = (pidOffset: number): Btf.Btf => {
  const editor = BtfEdit.make()
  const int = editor.addInt("int", 4, Btf.BTF_INT_SIGNED)
  editor.addStruct("task_struct", pidOffset + 4, [{
    name: "pid",
    type: int,
    bitOffset: pidOffset * 8,
    bitfieldSize: 0
  }])
  return Result.getOrThrow(editor.finish())
}

const configuration = [
  "CONFIG_BPF_SYSCALL=y",
  "CONFIG_HZ=777",
  "CONFIG_BPF_JIT=y",
  "CONFIG_NET=y",
  "CONFIG_CC_VERSION_TEXT=\"gcc 9\""
].join("\n")

const profile: KernelProfile.KernelProfile = {
  release: "6.1.0-elsewhere",
  architecture: "arm64",
  byteOrder: "little",
  pageSize: 65536,
  possibleCpus: 12,
  kernelVersion: 0x06019e,
  features: { ...Feature.ofRelease("6.1"), SyscallWrapper: true },
  configuration,
  vmlinux: types(64),
  modules: [],
  symbols: new Map([["schedule", "one"]]),
  missing: {}
}

/** A folder of a profile. */
const written = (profile: KernelProfile.KernelProfile): string => {
  const folder = temporaryFolder()
  Fs.mkdirSync(Path.join(folder, "btf"))
  for (const [name, bytes] of KernelProfile.encode(profile)) Fs.writeFileSync(Path.join(folder, name), bytes)
  return folder
}

const file = (name: string, bytes: string | Uint8Array): string => {
  const path = Path.join(temporaryFolder(), name)
  Fs.writeFileSync(path, bytes)
  return path
}

const btfFile = (): string => file("vmlinux.btf", types(64).bytes)

describe("effect-bpf kernel snapshot", () => {
  it.live("writes the profile of this machine, and says what is in it", () =>
    Effect.gen(function*() {
      const out = Path.join(temporaryFolder(), "profile")
      const { status, stderr, stdout } = yield* command("kernel", "snapshot", out, "--json")
      assert.deepStrictEqual({ status, stderr }, { status: 0, stderr: "" })
      const document = JSON.parse(stdout)
      assert.deepInclude(document, { path: out, release: Os.release(), architecture: process.arch })
      assert.deepStrictEqual(
        document.files.map(({ name }: { readonly name: string }) => name).sort(),
        Fs.readdirSync(out, { recursive: true, encoding: "utf8" }).filter((name) => name !== "btf").sort()
      )
      const shown = JSON.parse((yield* command("kernel", "show", out, "--json")).stdout)
      delete document.path
      delete document.files
      assert.deepStrictEqual(shown, document)
      const again = yield* command("kernel", "snapshot", out)
      assert.strictEqual(again.status, 1)
      assert.match(again.stderr, /already.*\nhint: .*--replace/)
      const replaced = yield* command("kernel", "snapshot", out, "--replace")
      assert.match(replaced.stdout, new RegExp(`^Wrote ${out}: \\d+ files, [\\d,]+ bytes\\n\\nLinux ${Os.release()}, `))
    }))
})

describe("effect-bpf kernel show", () => {
  it.live("shows a profile, as text and as data", () =>
    Effect.gen(function*() {
      const { stdout } = yield* command("kernel", "show", written(profile))
      assert.match(stdout, /^Linux 6\.1\.0-elsewhere, arm64, little-endian$/m)
      for (
        const line of [
          "page size +65,536 bytes",
          "possible CPUs +12",
          "kernel version +6.1.158",
          "configuration +5 options"
        ]
      ) {
        assert.match(stdout, new RegExp(`^ {2}${line}$`, "m"))
      }
      const document = JSON.parse((yield* command("kernel", "show", written(profile), "--json")).stdout)
      assert.deepInclude(document, {
        release: "6.1.0-elsewhere",
        page_size: 65536,
        kernel_version: 0x06019e,
        config: { options: 5 },
        symbols: 1,
        modules: []
      })
      assert.strictEqual(document.btf.types, 2)
    }))

  it.live("shows what types alone tell, and why there is no more", () =>
    Effect.gen(function*() {
      const { stdout } = yield* command("kernel", "show", btfFile())
      assert.match(stdout, /^A kernel of a release that is not known, little-endian$/m)
      assert.match(stdout, /^ {2}page size +not known: a BTF file holds types/m)
      assert.match(stdout, /^ {2}types +2 in vmlinux$/m)
      const document = JSON.parse((yield* command("kernel", "show", btfFile(), "--json")).stdout)
      assert.deepInclude(document, { release: null, page_size: null, modules: null, config: null })
      assert.isString(document.missing.page_size)
    }))

  it.live("shows the running kernel", () =>
    Effect.gen(function*() {
      const document = JSON.parse((yield* command("kernel", "show", "--json")).stdout)
      assert.strictEqual(document.release, Os.release())
    }))

  it.live("shows names that would act upon a terminal as what they are", () =>
    Effect.gen(function*() {
      const { stdout } = yield* command("kernel", "show", written({ ...profile, release: "6.1\u001b[2J" }))
      assert.include(stdout, "6.1\\x1b[2J")
    }))

  it.live("says what is wrong with what is no profile", () =>
    Effect.gen(function*() {
      const folder = temporaryFolder()
      const none = yield* command("kernel", "show", folder)
      assert.strictEqual(none.status, 1)
      assert.match(
        none.stderr,
        /profile\.json: there is no such file, so this is no kernel profile\nhint: .*kernel snapshot/
      )
      const text = yield* command("kernel", "show", file("text", "text"), "--json")
      assert.strictEqual(text.status, 1)
      assert.deepInclude(JSON.parse(text.stdout), { type: "ProfileError", reason: "Types" })
    }))
})

describe("--kernel with a profile", () => {
  it.live("plans with what the profile says", () =>
    Effect.gen(function*() {
      const folder = written(profile)
      const { status, stderr, stdout } = yield* command("plan", fixture("events.bpf.o"), "--kernel", folder)
      assert.deepStrictEqual({ status, stderr }, { status: 0, stderr: "" })
      assert.match(
        stdout,
        /on the profiled kernel \(Linux 6\.1\.0-elsewhere, arm64, little-endian; asked for page size 65536, 12 possible CPUs, \d+ features\)/
      )
      assert.match(stdout, /map perf: perf_event_array, .*max_entries 12$/m)
      assert.match(stdout, /map ring: ringbuf, max_entries 65536$/m)
      assert.notInclude(stdout, "assumed")
      const externs = JSON.parse(
        (yield* command("plan", fixture("externs.bpf.o"), "--kernel", folder, "--json")).stdout
      )
      assert.deepStrictEqual(externs.assumed, [])
      assert.deepInclude(externs.kernel, { name: "profiled", release: "6.1.0-elsewhere" })
      const values = externs.steps.find(({ why }: { readonly why: string }) =>
        why === "initial values of externs.kconfig"
      )
      assert.include(Buffer.from(values.arguments.value.bytes, "base64").toString("latin1"), "gcc 9")
    }))

  it.live("names what the kernel of the profile lacks", () =>
    Effect.gen(function*() {
      const { status, stderr } = yield* command(
        "plan",
        fixture("externs.bpf.o"),
        "--kernel",
        written({ ...profile, configuration: "CONFIG_HZ=1\n" })
      )
      assert.strictEqual(status, 1)
      assert.match(stderr, /^error: CONFIG_\w+: the kernel does not set this option\nhint: .*\nhint: --kconfig FILE/)
      const ksyms = yield* command("plan", fixture("ksyms.bpf.o"), "--kernel", written(profile))
      assert.strictEqual(ksyms.status, 1)
      assert.match(ksyms.stderr, /^error: \w+: the kernel has no (function|variable) of this name/m)
    }))

  it.live("runs programs on a simulated kernel like it, with coverage", () =>
    Effect.gen(function*() {
      const args = ["--data-in", fixture("packets.pcap"), "--kernel", written(profile), "--coverage"]
      const { status, stderr, stdout } = yield* command("run", fixture("xdp_firewall.bpf.o"), "xdp_firewall", ...args)
      assert.deepStrictEqual({ status, stderr }, { status: 0, stderr: "" })
      assert.match(stdout, /^xdp_firewall ran on 12 packets: XDP_PASS ×10, XDP_DROP ×2$/m)
      assert.match(stdout, /^coverage of /m)
    }))

  it.live("is planned for, and not run, where the machine is big-endian", () =>
    Effect.gen(function*() {
      const folder = written({ ...profile, architecture: "s390x", byteOrder: "big", vmlinux: undefined })
      const planned = yield* command("plan", fixture("xdp_firewall.eb.o"), "--kernel", folder)
      assert.match(planned.stdout, /s390x, big-endian/)
      assert.match((yield* command("plan", fixture("xdp_firewall.bpf.o"), "--kernel", folder)).stderr, /-target bpfeb/)
    }))
})

describe("--kernel with a release", () => {
  it.live("plans for a kernel with its features, and says what was changed and why", () =>
    Effect.gen(function*() {
      const { status, stderr, stdout } = yield* command(
        "plan",
        fixture("old_kernels.bpf.o"),
        "--kernel",
        "simulated:5.4"
      )
      assert.deepStrictEqual({ status, stderr }, { status: 0, stderr: "" })
      assert.match(stdout, /on the simulated kernel \(Linux 5\.4, x64, little-endian; asked for \d+ features\)/)
      assert.match(stdout, /note: 2 FLOAT became STRUCT: the kernel lacks BTF_FLOAT, which Linux has since 5\.13$/m)
      assert.match(stdout, /note: without BPF_F_MMAPABLE: the kernel lacks ARRAY_MMAP, which Linux has since 5\.5$/m)
      assert.match(stdout, /^ {2}the features: those of Linux 5\.4 \(by the version in which each came; .*\)$/m)
      const { assumed, steps } = JSON.parse(
        (yield* command("plan", fixture("old_kernels.bpf.o"), "--kernel", "simulated:5.4", "--json")).stdout
      )
      assert.strictEqual(assumed[0].value, "those of Linux 5.4")
      assert.isTrue(steps[0].notes.some((note: string) => note.includes("FLOAT became STRUCT")))
    }))

  it.live("tells which features those are", () =>
    Effect.gen(function*() {
      const { status, stdout } = yield* command("feature", "probe", "--kernel", "simulated:5.4", "--json")
      assert.strictEqual(status, 0)
      assert.deepInclude(JSON.parse(stdout).kernel_features, { have_btf_datasec: true, have_btf_float: false })
    }))

  it.live("must be one", () =>
    Effect.gen(function*() {
      const { status, stderr } = yield* command("plan", fixture("events.bpf.o"), "--kernel", "simulated:new")
      assert.strictEqual(status, 2)
      assert.match(stderr, /^error: .*new is no release of Linux\nhint: .*simulated:5\.4/)
    }))
})

describe("--kernel with a BTF file", () => {
  it.live("plans, and says what it does not know", () =>
    Effect.gen(function*() {
      const { status, stdout } = yield* command("plan", fixture("events.bpf.o"), "--kernel", btfFile())
      assert.strictEqual(status, 0)
      assert.match(stdout, /on the profiled kernel \(of a release that is not known, little-endian; /)
      assert.match(
        stdout,
        /^Not known of this kernel, and so assumed\n {2}the page size: 4096 bytes \(a BTF file holds types/m
      )
      const { assumed, kernel } = JSON.parse(
        (yield* command("plan", fixture("events.bpf.o"), "--kernel", btfFile(), "--json")).stdout
      )
      assert.deepInclude(kernel, { release: null, architecture: null })
      assert.deepStrictEqual(assumed.map(({ what }: { readonly what: string }) => what), [
        "the page size",
        "the number of possible CPUs",
        "features Btf, BtfDatasec, BtfFunc, BtfGlobalFunc, GlobalData, ProgName, ArrayMmap"
      ])
    }))

  it.live("leaves look-ups of symbols to the load, and says so", () =>
    Effect.gen(function*() {
      const { stderr } = yield* command("plan", fixture("ksyms.bpf.o"), "--kernel", btfFile())
      assert.match(stderr, /kernel symbol schedule: looked up when the program is loaded/)
      assert.match(stderr, /the BTF of the modules: none \(a BTF file holds/)
    }))

  it.live("runs, and says on standard error what was assumed", () =>
    Effect.gen(function*() {
      const args = ["--data-in", fixture("packets.pcap"), "--kernel", btfFile(), "--json"]
      const { status, stderr, stdout } = yield* command("run", fixture("xdp_firewall.bpf.o"), "xdp_firewall", ...args)
      assert.strictEqual(status, 0)
      assert.match(stderr, /^Not known of this kernel, and so assumed\n {2}the page size: 4096 bytes/)
      assert.strictEqual(JSON.parse(stdout).packets.length, 12)
    }))
})

describe("--kconfig", () => {
  const complete = `${configuration}\n`

  it.live("is taken before the kernel's own, packed or not", () =>
    Effect.gen(function*() {
      const folder = written({ ...profile, configuration: complete.replace("777", "100") })
      for (const bytes of [complete, Zlib.gzipSync(complete)]) {
        const args = ["--kernel", folder, "--kconfig", file("config", bytes), "--json"]
        const { steps } = JSON.parse((yield* command("plan", fixture("externs.bpf.o"), ...args)).stdout)
        const values = steps.find(({ why }: { readonly why: string }) => why === "initial values of externs.kconfig")
        const map = Buffer.from(values.arguments.value.bytes, "base64")
        assert.include([...new Uint32Array(map.buffer.slice(map.byteOffset, map.byteOffset + (map.length & ~3)))], 777)
      }
    }))

  it.live("is used by run, too", () =>
    Effect.gen(function*() {
      const bare = written({ ...profile, configuration: undefined })
      const args = ["run", fixture("externs.bpf.o"), "copy_configuration", "--kernel", bare]
      assert.strictEqual((yield* command(...args)).status, 1)
      const { status, stdout } = yield* command(...args, "--kconfig", file("config", complete))
      assert.strictEqual(status, 0)
      assert.match(stdout, /^copy_configuration returned 0/)
    }))

  it.live("that cannot be read or used is named", () =>
    Effect.gen(function*() {
      const plan = ["plan", fixture("externs.bpf.o"), "--kernel", written(profile), "--kconfig"]
      assert.match((yield* command(...plan, "/no/such/file")).stderr, /\/no\/such\/file: no such file/)
      const cut = Zlib.gzipSync(complete).subarray(0, 30)
      assert.match(
        (yield* command(...plan, file("config.gz", cut))).stderr,
        /config\.gz: --kconfig: the file is damaged/
      )
      const wrong = yield* command(...plan, file("config", "CONFIG_HZ\n"))
      assert.match(wrong.stderr, /CONFIG_HZ: line 1 of the given configuration has no =/)
    }))
})

describe("--btf", () => {
  it.live("takes the place of the kernel's types for CO-RE", () =>
    Effect.gen(function*() {
      const plan = ["plan", fixture("core_reads.bpf.o"), "--kernel", written(profile), "--json"]
      const instructions = (text: string): ReadonlyArray<unknown> =>
        JSON.parse(text).steps.flatMap((
          step: { readonly call?: string; readonly arguments: { readonly code: { readonly insns: string } } }
        ) => step.call === "ProgLoad" ? [step.arguments.code.insns] : [])
      const own = instructions((yield* command(...plan)).stdout)
      assert.isNotEmpty(own)
      const same = instructions((yield* command(...plan, "--btf", file("same.btf", types(64).bytes))).stdout)
      assert.deepStrictEqual(same, own)
      const empty = Result.getOrThrow(BtfEdit.make().finish())
      assert.match((yield* command(...plan, "--btf", "/no/such/file")).stderr, /\/no\/such\/file: no such file/)
      const other = instructions((yield* command(...plan, "--btf", file("none.btf", empty.bytes))).stdout)
      assert.strictEqual(other.length, own.length)
      assert.notDeepEqual(other, own)
      assert.match((yield* command(...plan, "--btf", fixture("packets.pcap"))).stderr, /neither BTF nor an ELF file/)
    }))
})
