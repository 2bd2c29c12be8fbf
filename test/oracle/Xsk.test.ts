/**
 * AF_XDP (`examples/xsk`) beside C: the layouts as the compiler has them of the kernel's header, and packets between our sockets and those
 * of a C program that knows nothing but system calls.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as ChildProcess from "node:child_process"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as Abi from "../../examples/xsk/Abi.ts"
import * as Redirect from "../../examples/xsk/Redirect.ts"
import * as Xsk from "../../examples/xsk/Xsk.ts"
import * as Libbpf from "../support/Libbpf.ts"
import { network } from "../support/Network.ts"
import { describeWith, repository, run, temporaryFolder } from "../support/Require.ts"
import { checker, live, write } from "../support/XskTraffic.ts"

/** The other side: `bench/peers/xsk_peer.c`, over the kernel's header alone. */
const peer = (): string => Libbpf.program("xsk_peer", "system")

describeWith({ kind: "oracle", ...Libbpf.needs("system") }, "layouts of AF_XDP", () => {
  it("are those of the kernel's header", () => {
    const told: Readonly<Record<string, number>> = JSON.parse(run(peer(), ["layout"]).stdout)
    const ours: Record<string, number> = {
      AF_XDP: Abi.AF_XDP,
      SOL_XDP: Abi.SOL_XDP,
      SOL_SOCKET: Abi.SOL_SOCKET,
      XDP_MMAP_OFFSETS: Abi.Option.MMAP_OFFSETS,
      XDP_RX_RING: Abi.Option.RX_RING,
      XDP_TX_RING: Abi.Option.TX_RING,
      XDP_UMEM_REG: Abi.Option.UMEM_REG,
      XDP_UMEM_FILL_RING: Abi.Option.FILL_RING,
      XDP_UMEM_COMPLETION_RING: Abi.Option.COMPLETION_RING,
      XDP_STATISTICS: Abi.Option.STATISTICS,
      XDP_OPTIONS: Abi.Option.OPTIONS,
      XDP_MAX_TX_SKB_BUDGET: Abi.Option.MAX_TX_SKB_BUDGET,
      XDP_SHARED_UMEM: Abi.BindFlag.SHARED_UMEM,
      XDP_COPY: Abi.BindFlag.COPY,
      XDP_ZEROCOPY: Abi.BindFlag.ZEROCOPY,
      XDP_USE_NEED_WAKEUP: Abi.BindFlag.USE_NEED_WAKEUP,
      XDP_USE_SG: Abi.BindFlag.USE_SG,
      XDP_PKT_CONTD: Abi.DescriptorOption.PKT_CONTD,
      XDP_TX_METADATA: Abi.DescriptorOption.TX_METADATA,
      XDP_UMEM_UNALIGNED_CHUNK_FLAG: Abi.UmemFlag.UNALIGNED_CHUNK,
      XDP_UMEM_TX_SW_CSUM: Abi.UmemFlag.TX_SW_CSUM,
      XDP_UMEM_TX_METADATA_LEN: Abi.UmemFlag.TX_METADATA_LEN,
      XDP_RING_NEED_WAKEUP: Abi.RingFlag.NEED_WAKEUP,
      XDP_OPTIONS_ZEROCOPY: Abi.OptionFlag.ZEROCOPY,
      XDP_PGOFF_RX_RING: Abi.PageOffset.RX,
      XDP_PGOFF_TX_RING: Abi.PageOffset.TX,
      XDP_UMEM_PGOFF_FILL_RING: Abi.PageOffset.FILL,
      XDP_UMEM_PGOFF_COMPLETION_RING: Abi.PageOffset.COMPLETION,
      XSK_UNALIGNED_BUF_OFFSET_SHIFT: Abi.UNALIGNED_OFFSET_SHIFT,
      SO_BUSY_POLL: Abi.BusyPollOption.BUSY_POLL,
      SO_PREFER_BUSY_POLL: Abi.BusyPollOption.PREFER_BUSY_POLL,
      SO_BUSY_POLL_BUDGET: Abi.BusyPollOption.BUSY_POLL_BUDGET,
      xdp_mmap_offsets: Abi.MMAP_OFFSETS_SIZE,
      xdp_desc: Abi.DESCRIPTOR_SIZE,
      xdp_statistics: Abi.STATISTICS_SIZE
    }
    // Structures: each field is found where C has it by writing a value of its own there.
    const address = Abi.socketAddress(0x1122, 0x33445566, 0x778899aa, 0x0bccddee)
    const registration = Abi.umemRegistration({
      address: 0x1122_3344_5566_7788n,
      length: 0x1122_3344_55,
      chunkSize: 0x0102_0304,
      headroom: 0x0506_0708,
      flags: 0x090a_0b0c,
      txMetadataLength: 1
    })
    const [halves, words] = [new DataView(address), new DataView(registration)]
    const isLittle = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1
    const at = (name: string): number => told[name] ?? assert.fail(`C does not tell ${name}`)
    assert.strictEqual(address.byteLength, told["sockaddr_xdp"])
    assert.strictEqual(halves.getUint16(at("sockaddr_xdp.sxdp_family"), isLittle), 44)
    assert.strictEqual(halves.getUint16(at("sockaddr_xdp.sxdp_flags"), isLittle), 0x1122)
    assert.strictEqual(halves.getUint32(at("sockaddr_xdp.sxdp_ifindex"), isLittle), 0x33445566)
    assert.strictEqual(halves.getUint32(at("sockaddr_xdp.sxdp_queue_id"), isLittle), 0x778899aa)
    assert.strictEqual(halves.getUint32(at("sockaddr_xdp.sxdp_shared_umem_fd"), isLittle), 0x0bccddee)
    assert.strictEqual(words.getBigUint64(at("xdp_umem_reg.addr"), isLittle), 0x1122_3344_5566_7788n)
    assert.strictEqual(words.getBigUint64(at("xdp_umem_reg.len"), isLittle), 0x1122_3344_55n)
    assert.strictEqual(words.getUint32(at("xdp_umem_reg.chunk_size"), isLittle), 0x0102_0304)
    assert.strictEqual(words.getUint32(at("xdp_umem_reg.headroom"), isLittle), 0x0506_0708)
    assert.strictEqual(words.getUint32(at("xdp_umem_reg.flags"), isLittle), 0x090a_0b0c)

    const offsets = new Uint8Array(at("xdp_mmap_offsets"))
    const longs = new DataView(offsets.buffer)
    const fields = { producer: "producer", consumer: "consumer", descriptors: "desc", flags: "flags" } as const
    const ringsOfC = { rx: "rx", tx: "tx", fill: "fr", completion: "cr" } as const
    const expected: Record<string, Record<string, number>> = {}
    let value = 0
    for (const [ring, inC] of Object.entries(ringsOfC)) {
      expected[ring] = {}
      for (const [field, name] of Object.entries(fields)) {
        const place = at(`xdp_mmap_offsets.${inC}`) + at(`xdp_ring_offset.${name}`)
        const told = (value += 8) + (name === "desc" ? 4096 : 0)
        longs.setBigUint64(place, BigInt(told), isLittle)
        expected[ring][field] = told
      }
    }
    assert.deepStrictEqual<unknown>(Abi.ringsOffsets(offsets), expected)

    const counted = new Uint8Array(at("xdp_statistics"))
    const names = {
      rxDropped: "rx_dropped",
      rxInvalidDescriptors: "rx_invalid_descs",
      txInvalidDescriptors: "tx_invalid_descs",
      rxRingFull: "rx_ring_full",
      fillRingEmpty: "rx_fill_ring_empty_descs",
      txRingEmpty: "tx_ring_empty_descs"
    } as const
    Object.values(names).forEach((name, index) => {
      new DataView(counted.buffer).setBigUint64(at(`xdp_statistics.${name}`), BigInt(index + 1), isLittle)
    })
    assert.deepStrictEqual(Object.values(Abi.statistics(counted) ?? {}), [1n, 2n, 3n, 4n, 5n, 6n])

    // What this header does not know yet cannot be asked for.
    const known = Object.keys(ours).filter((name) => name in told)
    assert.isAbove(known.length, 25)
    assert.deepStrictEqual(known.map((name) => [name, ours[name]]), known.map((name) => [name, told[name]]))
  })
})

/** No more than rings and frames have room for: neither side waits for the other. */
const count = 1900

describeWith(
  { kind: "live", root: true, tools: [...Libbpf.needs("system").tools, "ip"] },
  "AF_XDP sockets in C",
  () => {
    /** Starts the peer in a namespace; `first` is called with each line that it prints. */
    const start = (netns: string, args: ReadonlyArray<string>) => {
      const child = ChildProcess.spawn("ip", ["netns", "exec", netns, peer(), ...args])
      let [out, err] = ["", ""]
      child.stdout.on("data", (text) => (out += String(text)))
      child.stderr.on("data", (text) => (err += String(text)))
      const done = Effect.callback<{ readonly out: string; readonly err: string; readonly status: number | null }>(
        (resume) => {
          const end = () => resume(Effect.succeed({ out, err, status: child.exitCode }))
          if (child.exitCode !== null) end()
          else child.once("close", end)
        }
      )
      const ready = Effect.gen(function*() {
        for (let tries = 0; !out.includes("ready"); tries++) {
          if (tries > 2000 || child.exitCode !== null) return assert.fail(`the peer says ${out}${err}`)
          yield* Effect.sleep(2)
        }
      })
      return { done, ready, stop: Effect.sync(() => child.kill()) }
    }

    it.live("receive what ours send, every byte", () =>
      live(Effect.gen(function*() {
        const box = yield* network
        const umem = yield* Xsk.umem({ frameSize: 2048 })
        const socket = yield* Xsk.socket(umem, { device: box.device, netns: box.path, mode: "copy" })
        const { done, ready, stop } = start(box.peer, ["receive", "outer", String(count)])
        yield* Effect.addFinalizer(() => stop)
        yield* ready
        for (let sent = 0; sent < count; sent += 100) {
          const first = sent
          yield* Xsk.sendWith(socket, 100, (bytes, at, index) => write(bytes, at, first + index, 1))
          yield* Xsk.flush(socket)
        }
        const { err, out, status } = yield* done
        assert.deepStrictEqual({ err, status }, { err: "", status: 0 })
        assert.include(out, `{"received":${count},"wrong":0}`)
      })))

    it.live("send what ours receive, every byte", () =>
      live(Effect.gen(function*() {
        const box = yield* network
        const umem = yield* Xsk.umem({ frameSize: 2048 })
        const socket = yield* Xsk.socket(umem, { device: box.device, netns: box.path, mode: "copy" })
        yield* Redirect.insert(yield* Redirect.make({ device: box.device, netns: box.path }), socket)
        const { look, seen } = checker(2)
        const reader = yield* Effect.forkChild(Xsk.run(socket, look))
        const { done, stop } = start(box.peer, ["send", "outer", String(count)])
        yield* Effect.addFinalizer(() => stop)
        const { err, status } = yield* done
        assert.deepStrictEqual({ err, status }, { err: "", status: 0 })
        for (let tries = 0; seen.count < count && tries < 1000; tries++) yield* Effect.sleep(1)
        yield* Fiber.interrupt(reader)
        assert.deepStrictEqual(seen, { count, wrong: undefined })
      })))
  }
)

describe("named fault", () => {
  it("a frame with one byte changed is seen by our check", () => {
    const bytes = new Uint8Array(2048)
    const { look, seen } = checker(1)
    const length = write(bytes, 0, 0, 1)
    bytes[59] = (bytes[59] ?? 0) ^ 1
    const one = { capacity: 1, count: 1, addresses: Float64Array.of(0), lengths: Uint32Array.of(length) }
    look({ ...one, options: new Uint32Array(1), actions: new Uint8Array(1) }, bytes)
    assert.match(seen.wrong ?? "", /^frame 0 of sender 1/)
  })
})

describeWith({ kind: "oracle", tools: ["clang", "gcc"] }, "the program that hands packets to sockets", () => {
  it("is what its source compiles to", () => {
    const folder = temporaryFolder()
    Fs.cpSync(Path.join(repository, "examples/xsk"), folder, { recursive: true })
    const { status, stderr } = run("sh", [Path.join(folder, "build.sh")])
    assert.deepStrictEqual({ status, stderr }, { status: 0, stderr: "" })
    const [built, kept] = [folder, Path.join(repository, "examples/xsk")].map((each) =>
      Fs.readFileSync(Path.join(each, "RedirectObject.ts"), "utf8")
    )
    assert.strictEqual(built, kept)
  })
})
