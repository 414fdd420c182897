// The binary form of every answer; web/packing.py describes it.

const KINDS = { float32: Float32Array, uint8: Uint8Array, uint16: Uint16Array, int32: Int32Array };

/** ArrayBuffer -> {facts, arrays}: the arrays as typed arrays by name, without their shapes. */
export function unpack(buffer) {
  const start = 4 + new DataView(buffer).getUint32(0, true);
  const { facts, arrays } = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, start - 4)));
  const views = Object.entries(arrays).map(([name, { dtype, shape, offset }]) => {
    const count = shape.reduce((product, side) => product * side, 1);
    return [name, new KINDS[dtype](buffer, start + offset, count)];
  });
  return { facts, arrays: Object.fromEntries(views) };
}
