/** Calls by netlink on a socket that says what no kernel would: each ends with a tagged error, and every descriptor is closed. */
import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Message from "../../../../../src/services/Kernel/abi/netlink/Message.ts"
import * as Errno from "../../../../../src/services/Kernel/abi/Errno.ts"
import type { CallError } from "../../../../../src/services/Kernel/KernelError.ts"
import * as KernelLive from "../../../../../src/services/Kernel/KernelLive.ts"
import * as Ref from "../../../../../src/services/Kernel/Ref.ts"
import type { Session } from "../../../../../src/services/Kernel/Kernel.ts"
import type { Datagram, Net } from "../../../../../src/services/Kernel/sys/Net.ts"
import * as FakeSys from "./fakeSys.ts"

/** A socket that answers with these datagrams, then with an error number. */
interface Answers {
  readonly datagrams: ReadonlyArray<Datagram>
  readonly end?: number
  readonly socket?: number
  readonly send?: number
}

const scripted = ({ datagrams, end = -Errno.numbers.EAGAIN, send, socket = 9 }: Answers) => {
  const open: Array<number> = []
  let next = 0
  let sent = 0
  const net: Net = {
    socket: () => {
      if (socket >= 0) open.push(socket)
      return socket
    },
    send: (_, bytes) => {
      sent++
      return send ?? bytes.length
    },
    receive: () => datagrams[next++] ?? end,
    close: (fd) => void open.splice(open.indexOf(fd), 1),
    within: (_, body) => Result.succeed(body())
  }
  return { net, open, sent: () => sent }
}

const ask = <A>(answers: Answers, body: (session: Session) => Effect.Effect<A, CallError>) =>
  Effect.gen(function*() {
    const { net, open, sent } = scripted(answers)
    const kernel = KernelLive.fromParts({
      sys: () => Result.succeed(FakeSys.make(() => 3, [])),
      facts: FakeSys.facts,
      architecture: "x64",
      net: () => Result.succeed(net)
    })
    const result = yield* Effect.result(Effect.scoped(Effect.flatMap(kernel.session(), body)))
    assert.deepStrictEqual(open, [], "a socket stays open")
    return { result, sent: sent() }
  })

const get = (session: Session) => session.call({ _tag: "DeviceGet", device: "eth0" })

const failure = <A>(result: Result.Result<A, CallError>): CallError =>
  Result.isFailure(result) ? result.failure : assert.fail("there is an answer")

const error = (number: number, words?: string): Datagram => {
  const attributes = words === undefined ? new Uint8Array() : Message.encodeAttributes([Message.text(1, words)])
  const payload = new Uint8Array(20 + attributes.length)
  new DataView(payload.buffer).setInt32(0, number, true)
  payload.set(attributes, 20)
  const flags = words === undefined ? 0 : Message.Flag.CAPPED | Message.Flag.ACK_ATTRIBUTES
  return { bytes: Message.encode({ type: 2, flags, sequence: 1, port: 0, payload }), port: 0 }
}

describe("a netlink socket that", () => {
  it.effect("cannot be had, or does not send, is the error of the call", () =>
    Effect.gen(function*() {
      const none = yield* ask({ datagrams: [], socket: -24 }, get)
      assert.deepInclude(failure(none.result), { _tag: "KernelError", call: "DeviceGet", errno: "EMFILE" })
      const unsent = yield* ask({ datagrams: [], send: -105 }, get)
      assert.deepInclude(failure(unsent.result), { errno: "ENOBUFS" })
    }))

  it.effect("answers nothing, half of it, or too much at once, does not hang", () =>
    Effect.gen(function*() {
      for (const end of [-Errno.numbers.EAGAIN, -Errno.numbers.ENOBUFS, -Errno.numbers.EMSGSIZE]) {
        const { result } = yield* ask({ datagrams: [], end }, get)
        const errno = end === -Errno.numbers.EAGAIN ? "EBADMSG" : Errno.fromNumber(-end)
        assert.deepInclude(failure(result), { errno })
      }
    }))

  it.effect("tells the kernel's words, with its error number", () =>
    Effect.gen(function*() {
      const { result } = yield* ask({ datagrams: [error(-16, "XDP program already attached")] }, get)
      const told = failure(result)
      assert.deepInclude(told, { errno: "EBUSY", log: "XDP program already attached" })
      assert.include(told.message, "XDP program already attached")
    }))

  it.effect("somebody else writes to is not listened to", () =>
    Effect.gen(function*() {
      const { result } = yield* ask({ datagrams: [{ ...error(-1), port: 4711 }, error(-19)] }, get)
      assert.deepInclude(failure(result), { errno: "ENODEV" })
    }))

  it.effect("succeeds without saying anything of the device: there is none", () =>
    Effect.gen(function*() {
      const { result } = yield* ask({ datagrams: [error(0)] }, get)
      assert.deepInclude(failure(result), { errno: "ENODEV" })
    }))

  it.effect("lists what changes meanwhile is asked again, and not for ever", () =>
    Effect.gen(function*() {
      const payload = new Uint8Array(4)
      const changed = {
        bytes: Message.encode({ type: 3, flags: Message.Flag.DUMP_INTERRUPTED, sequence: 1, port: 0, payload }),
        port: 0
      }
      const list = (session: Session) => session.call({ _tag: "DeviceList" })
      const again = yield* ask({ datagrams: [changed, changed, error(0)] }, list)
      assert.deepStrictEqual(Result.getOrThrow(again.result), [])
      assert.strictEqual(again.sent, 3)
      const never = yield* ask({ datagrams: Array.from({ length: 1000 }, () => changed) }, list)
      assert.deepInclude(failure(never.result), { errno: "EINTR" })
    }))

  it.effect("names no device is not asked at all", () =>
    Effect.gen(function*() {
      for (const device of ["", "a\0b", 0, -1, 1.5, 2 ** 31]) {
        const { result, sent } = yield* ask({ datagrams: [] }, (session) => session.call({ _tag: "DeviceGet", device }))
        assert.deepInclude(failure(result), { errno: "EINVAL" })
        assert.strictEqual(sent, 0)
      }
      const nowhere = yield* ask({ datagrams: [] }, (session) =>
        session.call({ _tag: "ClsactCreate", as: Ref.attachment(0), device: { ifindex: 0 } }))
      assert.deepInclude(failure(nowhere.result), { errno: "EINVAL" })
    }))

  it("says whatever it likes: a value or a tagged error, and nothing open", () =>
    fc.assert(fc.asyncProperty(
      fc.array(fc.uint8Array({ maxLength: 120 }), { maxLength: 4 }),
      fc.constantFrom("get", "list", "filters", "clsact"),
      async (datagrams, what) => {
        const answers = { datagrams: datagrams.map((bytes) => ({ bytes, port: 0 })) }
        const { result } = await Effect.runPromise(ask<unknown>(answers, (session) => {
          switch (what) {
            case "get":
              return get(session)
            case "list":
              return session.call({ _tag: "DeviceList" })
            case "filters":
              return session.call({ _tag: "FilterList", device: { ifindex: 1 }, parent: 0xffff_fff2 })
            case "clsact":
              return session.call({ _tag: "ClsactCreate", as: Ref.attachment(0), device: { ifindex: 1 } })
          }
        }))
        if (Result.isFailure(result)) assert.strictEqual(result.failure._tag, "KernelError")
      }
    )))
})
