/**
 * The command as a process: loading, running and pinning on the running kernel, with bpftool as the judge; signals, pipes
 * and privileges.
 */
import { assert, describe, it } from "@effect/vitest"
import * as ChildProcess from "node:child_process"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as Pcap from "../../src/cli/Pcap.ts"
import * as Command from "../support/Command.ts"
import * as Rights from "../support/Rights.ts"
import { bpffs, describeWith, fixture, repository, run, temporaryFolder } from "../support/Require.ts"

const bin = Command.command()
const fixturePath = (name: string) => Path.join(repository, "test/fixtures", name)
const firewall = fixturePath("xdp_firewall.bpf.o")
const packets = fixturePath("packets.pcap")

const environment = { FORCE_COLOR: "0", NODE_NO_WARNINGS: "1" }

/** Runs the command; the words before are a command that runs it. */
const command = (...args: ReadonlyArray<string>) => Command.run(args, { env: environment })

const succeed = (...args: ReadonlyArray<string>): string => {
  const { status, stderr, stdout } = command(...args)
  assert.strictEqual(stderr, "")
  assert.strictEqual(status, 0)
  return stdout
}

const bpftool = (...args: ReadonlyArray<string>) => JSON.parse(run("bpftool", ["--json", ...args]).stdout)

interface Ran {
  readonly frame: number
  readonly retval: number
  readonly data_out: ReadonlyArray<number>
}

describeWith({ kind: "live" }, "effect-bpf run", () => {
  it("runs a program on every packet of a capture", () => {
    const { packets: ran }: { packets: ReadonlyArray<Ran> } = JSON.parse(
      succeed("run", firewall, "xdp_firewall", "--data-in", packets, "--json")
    )
    // Without a blocklist: what goes to port 23 and what is cut is dropped.
    assert.deepStrictEqual(ran.map(({ retval }) => retval), [2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 2, 1])
    assert.deepStrictEqual(ran.map(({ frame }) => frame), ran.map((_, index) => index))
    const text = succeed("run", firewall, "xdp_firewall", "--data-in", packets)
    assert.match(text, /^xdp_firewall ran on 12 packets: XDP_PASS ×10, XDP_DROP ×2$/m)
    assert.match(text, /^ {2}9 +54 +1 \(XDP_DROP\)/m)
  })

  it("runs with other settings", () => {
    const set = ["--set", "blocked_ports=[443]", "--set", "drop_malformed=false"]
    const { packets: ran }: { packets: ReadonlyArray<Ran> } = JSON.parse(
      succeed("run", firewall, "xdp_firewall", "--data-in", packets, "--json", ...set)
    )
    assert.deepStrictEqual(ran.map(({ retval }) => retval), [2, 1, 1, 2, 2, 1, 2, 2, 2, 2, 2, 2])
  })

  it("runs on one packet, from a file or standard input, and writes what comes back", () => {
    const folder = temporaryFolder()
    const packet = Path.join(folder, "packet")
    const out = Path.join(folder, "out")
    const bytes = Uint8Array.from({ length: 60 }, (_, index) => index)
    Fs.writeFileSync(packet, bytes)
    const ran: Ran = JSON.parse(succeed("run", firewall, "xdp_firewall", "--data-in", packet, "--data-out", out, "-j"))
    assert.deepStrictEqual(Object.keys(ran), ["data_out", "retval", "action", "duration"])
    assert.deepStrictEqual(ran.data_out, [...bytes])
    assert.deepStrictEqual(new Uint8Array(Fs.readFileSync(out)), bytes)
    const piped = run(process.execPath, [bin, "run", firewall, "xdp_firewall", "--data-in", "-"], {
      input: bytes,
      env: environment
    })
    assert.match(
      piped.stdout,
      /^xdp_firewall returned 2 \(XDP_PASS\) in \d+ ns\n\ndata out, 60 bytes:\n {2}00000000 {2}00 01 02/
    )
  })

  it("writes a capture of what comes back from a capture", () => {
    const out = Path.join(temporaryFolder(), "out.pcap")
    succeed("run", firewall, "xdp_firewall", "--data-in", packets, "--data-out", out)
    const [read, given] = [Pcap.parse(new Uint8Array(Fs.readFileSync(out))), Pcap.parse(fixture("packets.pcap"))]
    if (read._tag === "Failure" || given._tag === "Failure") throw new Error("no capture")
    assert.deepStrictEqual(
      read.success.packets.map(({ bytes }) => bytes),
      given.success.packets.map(({ bytes }) => bytes)
    )
  })

  it("runs programs that take no packet, and only the one that was asked for", () => {
    assert.match(
      succeed("run", fixturePath("externs.bpf.o"), "copy_configuration"),
      /^copy_configuration returned 0 in/
    )
    // The object's other program calls a kernel function: it is not loaded.
    const symbols = command("run", fixturePath("ksyms.bpf.o"), "look_up_symbols")
    if (Rights.addresses()) assert.match(symbols.stdout, /^look_up_symbols returned 0/)
    else assert.match(symbols.stderr, /hides the address of \w+ from this process/)
  })

  it("says why a packet is refused", () => {
    const packet = Path.join(temporaryFolder(), "packet")
    Fs.writeFileSync(packet, "short")
    const { status, stderr } = command("run", firewall, "xdp_firewall", "--data-in", packet)
    assert.strictEqual(status, 1)
    assert.match(stderr, /EINVAL\nhint: packets have at least 14 bytes, this one has 5\n/)
  })

  it("prints what the verifier says with --log", () => {
    const { status, stderr, stdout } = command("run", firewall, "xdp_firewall", "--data-in", packets, "--log")
    assert.strictEqual(status, 0)
    assert.match(stderr, /^verifier log of xdp_firewall:\n/)
    assert.match(stderr, /processed \d+ insns/)
    assert.match(stdout, /^xdp_firewall ran on 12 packets/)
  })
})

describeWith({ kind: "live", tools: ["clang"] }, "effect-bpf and the verifier", () => {
  const source = `
#define SEC(name) __attribute__((section(name), used))
struct xdp_md { unsigned int data, data_end; };
SEC("xdp") int reads_too_far(struct xdp_md *ctx) { return ((char *)(long)ctx->data)[3]; }
char LICENSE[] SEC("license") = "GPL";
`
  it("shows the cause, and how to see everything", () => {
    const folder = temporaryFolder()
    const object = Path.join(folder, "bad.bpf.o")
    const compiled = run("clang", ["-target", "bpf", "-g", "-O2", "-c", "-xc", "-", "-o", object], { input: source })
    assert.strictEqual(compiled.status, 0, compiled.stderr)
    const packet = Path.join(folder, "packet")
    Fs.writeFileSync(packet, new Uint8Array(64))
    const short = command("run", object, "reads_too_far", "--data-in", packet)
    assert.strictEqual(short.status, 1)
    assert.match(short.stderr, /^error: program reads_too_far was refused \(EACCES\): invalid access to packet/)
    assert.match(short.stderr, /run again with --log to see all of them\n$/)
    assert.notInclude(short.stderr, "verifier log of")
    const long = command("run", object, "reads_too_far", "--data-in", packet, "--log")
    assert.match(
      long.stderr,
      /^verifier log of reads_too_far:\n[^]*invalid access to packet[^]*\nerror: program reads_too_far/
    )
    assert.notInclude(long.stderr, "run again")
  })
})

describeWith({ kind: "live", tools: ["bpftool"] }, "effect-bpf prog", () => {
  let count = 0
  const folder = (): string => {
    const path = Path.join(bpffs(), `cli${count++}`)
    return path
  }

  it("load pins the first program, and bpftool finds it there", () => {
    const pin = folder()
    assert.match(succeed("prog", "load", firewall, pin), /^pinned:\n.*\n {2}program {2}xdp_firewall {2}/)
    const shown = bpftool("prog", "show", "pinned", pin)
    assert.deepInclude(shown, { type: "xdp", name: "xdp_firewall" })
    const document = JSON.parse(
      command("run", firewall, "xdp_firewall", "--data-in", packets, "-j").stdout
    )
    const data = Path.join(temporaryFolder(), "packet")
    const capture = Pcap.parse(fixture("packets.pcap"))
    if (capture._tag === "Failure") throw capture.failure
    const frame = 9
    Fs.writeFileSync(data, capture.success.packets[frame]?.bytes ?? new Uint8Array())
    const judged = bpftool("prog", "run", "pinned", pin, "data_in", data, "data_out", "-")
    const { data_out, retval } = document.packets[frame]
    assert.deepStrictEqual({ data_out, retval }, { data_out: judged.data_out, retval: judged.retval })
    Fs.rmSync(pin)
  })

  it("load pins a named program, and maps under their names", () => {
    const pin = folder()
    const maps = folder()
    const object = fixturePath("tracepoint.bpf.o")
    const pinned = JSON.parse(
      succeed("prog", "load", object, pin, "--prog", "keep_first_bytes", "--pinmaps", maps, "-j")
    )
    assert.deepStrictEqual(pinned.programs, [{ name: "keep_first_bytes", pinned: [pin] }])
    // The rest of a long name is in the program's types, which bpftool opens by their identifier.
    const name = bpftool("prog", "show", "pinned", pin).name
    assert.strictEqual(name, Rights.identifiers() ? "keep_first_bytes" : "keep_first_byte")
    assert.deepStrictEqual(Fs.readdirSync(maps).sort(), ["calls", "tracepoi_bss"])
    assert.strictEqual(bpftool("map", "show", "pinned", Path.join(maps, "calls")).name, "calls")
    Fs.rmSync(pin)
    Fs.rmSync(maps, { recursive: true })
  })

  it("loadall pins the same programs and maps as bpftool", () => {
    const [ours, theirs] = [folder(), folder()]
    const object = fixturePath("subprograms.bpf.o")
    succeed("prog", "loadall", object, ours, "--pinmaps", `${ours}_maps`)
    const judged = run("bpftool", ["prog", "loadall", object, theirs, "pinmaps", `${theirs}_maps`])
    assert.strictEqual(judged.status, 0, judged.stderr)
    for (const end of ["", "_maps"]) {
      assert.deepStrictEqual(Fs.readdirSync(ours + end).sort(), Fs.readdirSync(theirs + end).sort())
    }
    for (const path of [ours, theirs, `${ours}_maps`, `${theirs}_maps`]) Fs.rmSync(path, { recursive: true })
  })

  it("leaves nothing behind when something fails", () => {
    const taken = folder()
    succeed("prog", "load", firewall, taken)
    const maps = folder()
    // The program's pin is there already, so neither the maps' pins nor their folder stay.
    const failed = command("prog", "load", firewall, taken, "--pinmaps", maps)
    assert.strictEqual(failed.status, 1)
    assert.match(failed.stderr, /EEXIST\nhint: something is pinned at this path already/)
    assert.isFalse(Fs.existsSync(maps))
    const dots = command("prog", "load", firewall, `${folder()}.x`, "--pinmaps", maps)
    assert.strictEqual(dots.status, 1)
    assert.isFalse(Fs.existsSync(maps))
    Fs.rmSync(taken)
  })

  it("says so where the folder is in no bpf file system", () => {
    const { status, stderr } = command("prog", "load", firewall, Path.join(temporaryFolder(), "firewall"))
    assert.strictEqual(status, 1)
    assert.match(stderr, /^error: ObjPin .*\nhint: .*mount -t bpf/)
  })
})

describe("effect-bpf as a process", () => {
  it("bears a reader that leaves early", () => {
    const script = `set -o pipefail; "$0" "$1" inspect "$2" --insns | head -n 1`
    const { status, stderr, stdout } = run("bash", [
      "-c",
      script,
      process.execPath,
      bin,
      fixturePath("section_kinds.bpf.o")
    ], {
      env: environment
    })
    assert.deepStrictEqual({ status, stderr }, { status: 0, stderr: "" })
    assert.match(stdout, /^.*section_kinds\.bpf\.o: BPF object/)
  })

  it("ends with 130 when it is interrupted", async () => {
    /** Whether a process waits for its standard input: one of its epoll instances watches descriptor 0. */
    const waits = (pid: number): boolean =>
      Fs.readdirSync(`/proc/${pid}/fd`).some((descriptor) => {
        try {
          return /^tfd:\s+0 /m.test(Fs.readFileSync(`/proc/${pid}/fdinfo/${descriptor}`, "latin1"))
        } catch {
          // It was closed meanwhile.
          return false
        }
      })
    for (const signal of ["SIGINT", "SIGTERM"] as const) {
      const child = ChildProcess.spawn(process.execPath, [bin, "run", firewall, "xdp_firewall", "--data-in", "-"], {
        stdio: ["pipe", "ignore", "pipe"],
        env: { ...process.env, ...environment }
      })
      let stderr = ""
      child.stderr.on("data", (text: Buffer) => stderr += text.toString())
      const ended = new Promise<number | null>((resolve) => child.on("close", resolve))
      while (!waits(child.pid ?? 0)) await new Promise((resolve) => setImmediate(resolve))
      child.kill(signal)
      assert.strictEqual(await ended, 130)
      assert.strictEqual(stderr, "")
    }
  })

  it("honours NO_COLOR and FORCE_COLOR", () => {
    const colored =
      run(process.execPath, [bin, "inspect", firewall], { env: { ...environment, NO_COLOR: "", FORCE_COLOR: "1" } })
        .stdout
    const both =
      run(process.execPath, [bin, "inspect", firewall], { env: { ...environment, NO_COLOR: "1", FORCE_COLOR: "1" } })
        .stdout
    assert.include(colored, "\x1b[")
    assert.notInclude(both, "\x1b[")
    // oxlint-disable-next-line no-control-regex -- what colours are made of
    assert.strictEqual(colored.replaceAll(/\x1b\[\d+m/g, ""), both)
  })
})

describeWith({ kind: "live", tools: ["setpriv"] }, "effect-bpf without privileges", () => {
  const without = (...args: ReadonlyArray<string>) =>
    run("setpriv", ["--bounding-set=-all", "--inh-caps=-all", process.execPath, bin, ...args], { env: environment })

  it("says what is missing, and plans all the same", () => {
    const refused = without("run", firewall, "xdp_firewall", "--data-in", packets)
    assert.strictEqual(refused.status, 1)
    assert.match(
      refused.stderr,
      /^error: the live kernel cannot be used: bpf\(2\) answers EPERM: this process has neither CAP_BPF nor CAP_SYS_ADMIN\nhint: run it as root/
    )
    const planned = without("plan", firewall)
    assert.deepStrictEqual({ status: planned.status, stderr: planned.stderr }, { status: 0, stderr: "" })
    assert.match(planned.stdout, /, 11 calls:$/m)
    const open = without("plan", fixturePath("externs.bpf.o"))
    assert.strictEqual(open.status, 0)
    assert.match(
      open.stdout,
      /^Not known of this kernel, and so assumed\n {2}features .*BpfCookie.*: present \(.*EPERM\)$/m
    )
  })
})
