/**
 * Requests of netlink made and answered at once, and what the release of an attachment asks: whether it is still there.
 *
 * Each request has a socket of its own, in the network namespace that it is for. The kernel carries a request out while it is sent,
 * so nothing is waited for, and nothing is left open.
 */
import * as Result from "effect/Result"
import * as Fs from "node:fs"
import * as Errno from "../abi/Errno.ts"
import * as Device from "../abi/netlink/Device.ts"
import * as Exchange from "../abi/netlink/Exchange.ts"
import * as Filter from "../abi/netlink/Filter.ts"
import type { Message, NetlinkError } from "../abi/netlink/Message.ts"
import type { Net } from "../sys/Net.ts"

/** What a request came to: its answers, or an error number (positive) with the kernel's words. */
export type Reply = Result.Result<
  ReadonlyArray<Message>,
  { readonly errno: number; readonly words?: string | undefined; readonly hint?: string }
>

const malformed = ({ message }: NetlinkError): Reply =>
  Result.fail({ errno: Errno.numbers.EBADMSG, hint: `the kernel's answer cannot be read: ${message}` })

/** Datagrams that are of nobody's, before it is given up. */
const largestNumberOfDatagrams = 1_000_000

/** Sends a request through a socket, and takes what comes until its end. */
const converse = (net: Net, socket: number, request: Exchange.Request): Reply => {
  const exchange = Exchange.make(request, 1)
  const sent = net.send(socket, exchange.bytes)
  if (sent < 0) return Result.fail({ errno: -sent })
  for (let taken = 0; taken < largestNumberOfDatagrams; taken++) {
    const datagram = net.receive(socket)
    if (typeof datagram === "number") {
      if (datagram === -Errno.numbers.EINTR) continue
      const hint = "the kernel has not answered the request, or not all of the answer had room"
      return Result.fail({ errno: datagram === -Errno.numbers.EAGAIN ? Errno.numbers.EBADMSG : -datagram, hint })
    }
    // Others may send to any port; only the kernel's words count.
    if (datagram.port !== 0) continue
    const progress = exchange.take(datagram.bytes)
    if (Result.isFailure(progress)) return malformed(progress.failure)
    if (progress.success._tag === "Waiting") continue
    const { acknowledgement, answers, interrupted } = progress.success
    if (acknowledgement.errno !== 0) return Result.fail(acknowledgement)
    return interrupted ? Result.fail({ errno: Errno.numbers.EINTR }) : Result.succeed(answers)
  }
  return Result.fail({ errno: Errno.numbers.EBADMSG })
}

/** Makes a request in a network namespace: that of a descriptor, or this process's. */
export const ask = (net: Net, netns: number | undefined, request: Exchange.Request): Reply => {
  const opened = netns === undefined ? Result.succeed(net.socket()) : net.within(netns, net.socket)
  const socket = Result.isSuccess(opened) ? opened.success : opened.failure
  if (socket < 0) return Result.fail({ errno: -socket })
  try {
    return converse(net, socket, request)
  } finally {
    net.close(socket)
  }
}

/** What an answer tells, all of them; what is of something else is left out. */
export const decodeAll = <A>(
  answers: ReadonlyArray<Message>,
  decode: (message: Message) => Result.Result<A | undefined, NetlinkError>
): Result.Result<ReadonlyArray<A>, NetlinkError> => {
  const found: Array<A> = []
  for (const answer of answers) {
    const decoded = decode(answer)
    if (Result.isFailure(decoded)) return Result.fail(decoded.failure)
    if (decoded.success !== undefined) found.push(decoded.success)
  }
  return Result.succeed(found)
}

/** A device as the kernel tells of it, `undefined` where it is gone. */
export const deviceOf = (net: Net, netns: number | undefined, wanted: number | string): Device.Device | undefined => {
  const reply = ask(net, netns, Device.get(wanted))
  const decoded = Result.flatMap(reply, (answers) => decodeAll(answers, Device.decode))
  return Result.isSuccess(decoded) ? decoded.success[0] : undefined
}

/** The programs in a parent; `undefined` where they cannot be had, as where the device is gone. */
export const filtersOf = (
  net: Net,
  netns: number | undefined,
  index: number,
  parent: number
): ReadonlyArray<Filter.Filter> | undefined => {
  const reply = ask(net, netns, Filter.list(index, parent))
  const decoded = Result.flatMap(reply, (answers) => decodeAll(answers, Filter.decode))
  return Result.isSuccess(decoded) ? decoded.success : undefined
}

/** Whether anything at all is in a parent, filters of other kinds included. */
export const isEmpty = (net: Net, netns: number | undefined, index: number, parent: number): boolean => {
  const reply = ask(net, netns, Filter.list(index, parent))
  return Result.isSuccess(reply) && reply.success.length === 0
}

/** Tells network namespaces apart. */
export const inodeOf = (fd: number): number => {
  try {
    return Fs.fstatSync(fd).ino
  } catch {
    return -1
  }
}
