/** What a live session leaves behind: nothing, however it ends. */
import { assert, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as Encode from "../../src/insn/Encode.ts"
import { MapFlag, MapType } from "../../src/services/Kernel/abi/BpfConstants.ts"
import type { KernelShape, Session } from "../../src/services/Kernel/Kernel.ts"
import { RefError } from "../../src/services/Kernel/KernelError.ts"
import * as KernelFaulty from "../../src/services/Kernel/KernelFaulty.ts"
import * as KernelLive from "../../src/services/Kernel/KernelLive.ts"
import * as KernelTraced from "../../src/services/Kernel/KernelTraced.ts"
import * as Ref from "../../src/services/Kernel/Ref.ts"
import {
  code,
  inSession,
  kernelError,
  liveSession,
  mapCreate,
  mappings,
  openDescriptors,
  progLoad,
  returning,
  u32,
  u64
} from "../support/LiveKernel.ts"
import { bpffs, describeWith, repository, run } from "../support/Require.ts"

const FD_CLOEXEC = 0o2000000

/** Whether a descriptor of this `/proc/self/fdinfo` is closed when this process starts another one. */
const isCloseOnExec = (fdinfo: string): boolean => {
  const flags = /^flags:\s*([0-7]+)/m.exec(fdinfo)?.[1]
  return flags !== undefined && (Number.parseInt(flags, 8) & FD_CLOEXEC) !== 0
}

/** The BPF descriptors that a program inherits which is started now. */
const inherited = (): ReadonlyArray<string> =>
  run("ls", ["-l", "/proc/self/fd"]).stdout.split("\n").filter((line) => line.includes("anon_inode:bpf"))

/** Every call that acquires something, one after another. */
const everything = (session: Session, pin: string) =>
  Effect.gen(function*() {
    yield* session.call(mapCreate(0, { type: MapType.BPF_MAP_TYPE_ARRAY, flags: MapFlag.BPF_F_MMAPABLE }))
    yield* session.call(mapCreate(1, { type: MapType.BPF_MAP_TYPE_ARRAY_OF_MAPS, valueSize: 4 }, { inner: Ref.map(0) }))
    yield* session.call({ _tag: "MapMmap", map: Ref.map(0), as: Ref.view(0), offset: 0, length: 4096, writable: true })
    const insns = Encode.program(Encode.ldImm64(1, 0n), Encode.mov64Imm(0, 0), Encode.exit())
    const refs = [{ _tag: "MapRef", at: 0, map: Ref.map(0) }] as const
    yield* session.call(progLoad(0, { insns, refs }, {}, { log: { level: 2 } }))
    yield* session.call({ _tag: "ProgBindMap", prog: Ref.prog(0), map: Ref.map(1) })
    yield* session.call({ _tag: "ProgGetInfo", prog: Ref.prog(0) })
    yield* session.call({ _tag: "ObjPin", object: Ref.prog(0), path: pin })
    yield* session.call({ _tag: "ObjGet", as: Ref.prog(1), path: pin })
    // What is refused leaves nothing behind either.
    yield* Effect.ignore(session.call(progLoad(2, code(Encode.exit()))))
    yield* Effect.ignore(session.call({ _tag: "ObjGet", as: Ref.map(2), path: pin }))
  })

describeWith({ kind: "live" }, "sessions of the live kernel", () => {
  it.live("hold descriptors that are not inherited, and close all of them", () =>
    Effect.gen(function*() {
      const before = openDescriptors()
      const pin = Path.join(bpffs(), "session")
      yield* inSession(Effect.fnUntraced(function*(session) {
        yield* everything(session, pin)
        const opened = openDescriptors().filter((fd) => !before.includes(fd))
        assert.strictEqual(opened.length, 4)
        for (const fd of opened) {
          assert.isTrue(isCloseOnExec(Fs.readFileSync(`/proc/self/fdinfo/${fd}`, "utf8")), `descriptor ${fd}`)
          assert.isAtLeast(fd, 3)
        }
        assert.deepStrictEqual(inherited(), [])
        assert.strictEqual(mappings(), 1)
      }))
      assert.deepStrictEqual(openDescriptors(), before)
      assert.strictEqual(mappings(), 0)
      assert.isFalse(Fs.existsSync(pin))
    }))

  it("named fault: a descriptor that is inherited is seen", () => {
    assert.isTrue(isCloseOnExec("pos:\t0\nflags:\t02000002\nmnt_id:\t17\n"))
    assert.isFalse(isCloseOnExec("pos:\t0\nflags:\t02\nmnt_id:\t17\n"))
    assert.isFalse(isCloseOnExec(""))
  })

  it("keep away from the numbers of standard input, output and error", () => {
    const result = run(process.execPath, [Path.join(repository, "test/support/withoutInput.ts")], {
      env: { NODE_NO_WARNINGS: "1" }
    })
    assert.strictEqual(result.status, 0, result.stderr)
    const { after, open } = JSON.parse(result.stdout) as { open: ReadonlyArray<number>; after: ReadonlyArray<number> }
    assert.strictEqual(open.length, 2)
    for (const fd of open) assert.isAtLeast(fd, 3)
    assert.deepStrictEqual(after, [])
  })

  it.live("close at once what is told to be closed, once", () =>
    Effect.gen(function*() {
      const before = openDescriptors().length
      yield* inSession(Effect.fnUntraced(function*(session) {
        yield* session.call(mapCreate(0))
        yield* session.call({ _tag: "Close", ref: Ref.map(0) })
        assert.strictEqual(openDescriptors().length, before)
        // Its number is taken by something else that the session must not close.
        const other = Fs.openSync("/dev/null", "r")
        const again = yield* Effect.flip(session.call({ _tag: "Close", ref: Ref.map(0) }))
        assert.isTrue(again instanceof RefError && again.reason === "Closed")
        assert.doesNotThrow(() => Fs.fstatSync(other))
        Fs.closeSync(other)
      }))
    }))

  it.live("lend and borrow: what is adopted stays open", () =>
    inSession(Effect.fnUntraced(function*(owner) {
      yield* owner.call(mapCreate(0, { name: "lent" }))
      const fd = openDescriptors().at(-1) ?? -1
      yield* inSession(Effect.fnUntraced(function*(borrower) {
        const ref = yield* borrower.adopt({ _tag: "Descriptor", kind: "Map", fd })
        if (ref._tag !== "Map") return assert.fail(ref._tag)
        const update = {
          _tag: "MapUpdate",
          map: ref,
          key: u32(1),
          value: { bytes: u64(4n), refs: [] },
          flags: 0n
        } as const
        yield* borrower.call(update)
        // Sizes are checked for adopted maps too.
        const wrong = yield* kernelError(borrower.call({ ...update, key: new Uint8Array(1) }))
        assert.match(wrong.message, /^MapUpdate of lent: /)
        yield* borrower.call({ _tag: "Close", ref })
        const program = yield* Effect.flip(borrower.adopt({ _tag: "Descriptor", kind: "Prog", fd }))
        assert.isTrue(program instanceof RefError && program.reason === "WrongKind")
        const file = yield* Effect.flip(borrower.adopt({ _tag: "Descriptor", kind: "Map", fd: 1 }))
        assert.isTrue(file instanceof RefError && file.reason === "WrongKind")
        const closed = yield* kernelError(borrower.adopt({ _tag: "Descriptor", kind: "Map", fd: 99_999 }))
        assert.strictEqual(closed.errno, "EBADF")
      }))
      assert.include(openDescriptors(), fd)
      const found = yield* owner.call({ _tag: "MapLookup", map: Ref.map(0), key: u32(1), valueSize: 8, flags: 0n })
      assert.deepStrictEqual(found, u64(4n))
    })))

  it.live("refuse refs of other sessions", () =>
    inSession(Effect.fnUntraced(function*(one) {
      yield* one.call(mapCreate(0))
      const stamped = one.stamp(Ref.map(0))
      yield* one.call({ _tag: "MapGetInfo", map: stamped })
      yield* inSession(Effect.fnUntraced(function*(other) {
        yield* other.call(mapCreate(0))
        const error = yield* Effect.flip(other.call({ _tag: "MapGetInfo", map: stamped }))
        assert.isTrue(error instanceof RefError && error.reason === "OtherSession")
      }))
    })))

  it.live("leave no descriptor when they are interrupted while the verifier works", () =>
    Effect.gen(function*() {
      const before = openDescriptors()
      // Long enough to verify that the interruption comes in between.
      const slow = code(
        Encode.mov64Imm(6, 0),
        Encode.alu64Imm(0x00, 6, 1),
        Encode.mov64Imm(0, 0),
        Encode.jmpImm(0xa0, 6, 60_000, -3),
        Encode.exit()
      )
      const entered = yield* Deferred.make<void>()
      const answers: Array<string> = []
      const fiber = yield* Effect.forkChild(inSession((session) => session.call(progLoad(0, slow)), {
        observer: {
          before: () => Effect.asVoid(Deferred.succeed(entered, undefined)),
          after: (_, answer) => Effect.sync(() => void answers.push(answer._tag))
        }
      }))
      yield* Deferred.await(entered)
      // The event loop is free while the verifier works: this fiber runs.
      assert.deepStrictEqual(answers, [])
      yield* Fiber.interrupt(fiber)
      assert.deepStrictEqual(answers, ["Success"], "the kernel had accepted the program")
      assert.deepStrictEqual(openDescriptors(), before)
      const exit = yield* Fiber.await(fiber)
      assert.isTrue(Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause))
    }))

  const attemptsOf = (kernel: KernelShape, pin: string) =>
    Effect.gen(function*() {
      const traced = yield* KernelTraced.make(kernel)
      const exit = yield* Effect.exit(Effect.scoped(
        Effect.flatMap(traced.kernel.session(), (session) => everything(session, pin))
      ))
      return { exit, attempts: yield* traced.attempts }
    })

  it.live("law: whichever attempt fails or is interrupted, nothing is left", () =>
    Effect.gen(function*() {
      const live = yield* KernelLive.make
      const pin = Path.join(bpffs(), "law")
      const before = openDescriptors()
      const { attempts } = yield* attemptsOf(live, pin)
      assert.isAtLeast(attempts.length, 12)
      const faults = [
        { _tag: "Answer", errno: "ENOMEM" },
        { _tag: "Answer", errno: "EINTR" },
        { _tag: "InterruptBefore" },
        { _tag: "InterruptAfter" }
      ] as const
      for (const fault of faults) {
        for (let at = 0; at < attempts.length; at++) {
          const faulty = yield* KernelFaulty.make(live, at, fault)
          yield* Effect.exit(Effect.scoped(Effect.flatMap(faulty.session(), (session) => everything(session, pin))))
          assert.deepStrictEqual(openDescriptors(), before, `${fault._tag} at attempt ${at}`)
          assert.strictEqual(mappings(), 0, `${fault._tag} at attempt ${at}`)
          assert.isFalse(Fs.existsSync(pin), `${fault._tag} at attempt ${at}`)
        }
      }
    }))

  it.live("named fault: a descriptor that is not released is seen", () =>
    Effect.gen(function*() {
      const before = openDescriptors()
      const scope = yield* Scope.make()
      const session = yield* Scope.provide(liveSession(), scope)
      yield* session.call(progLoad(0, returning(0)))
      assert.notDeepEqual(openDescriptors(), before)
      yield* Scope.close(scope, Exit.void)
      assert.deepStrictEqual(openDescriptors(), before)
    }))

  it.live("tell how many calls they take at once: one in listed order", () =>
    Effect.gen(function*() {
      const concurrency = yield* inSession((session) => Effect.succeed(session.concurrency))
      assert.isAtLeast(concurrency, 1)
      assert.strictEqual(yield* inSession((session) => Effect.succeed(session.concurrency), { listedOrder: true }), 1)
    }))
})
