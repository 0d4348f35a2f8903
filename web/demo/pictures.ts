import type { Interface } from "./client/dist/index.js";

/** The picture in `file` as the program takes it: red, green, blue and opacity of every pixel. */
export async function pixels(known: Interface, file: Blob, canvas: HTMLCanvasElement): Promise<ImageData> {
  const shape = known.imageShape;
  const [channels, height, width] = shape ?? [];
  if (channels === undefined || height === undefined || width === undefined) {
    throw new Error("this model takes no pictures");
  }
  const picture = await createImageBitmap(file).catch(() => {
    throw new Error("this file is no picture that the browser can read");
  });
  [canvas.width, canvas.height] = [width, height];
  const context = canvas.getContext("2d", { willReadFrequently: true, colorSpace: "srgb" });
  if (context === null) throw new Error("the browser gives no canvas");
  context.imageSmoothingQuality = "high";
  const [left, top, wide, high] = window_of(known, picture, width, height);
  context.fillStyle = "#fff";
  context.fillRect(0, 0, width, height);
  context.drawImage(picture, left, top, wide, high, 0, 0, width, height);
  picture.close();
  const data = context.getImageData(0, 0, width, height);
  if (channels === 1) context.putImageData(gray(data), 0, 0);
  return data;
}

/** What of a picture is taken: as the network's training did it, or else its middle. */
function window_of(
  known: Interface,
  picture: { width: number; height: number },
  width: number,
  height: number,
): [number, number, number, number] {
  const fit = Array.from(known.pictureFit(picture.width, picture.height));
  const [sw = 1, sh = 1, x = 0, y = 0, w = 1, h = 1] = fit;
  if (w === width && h === height) {
    const [across, down] = [picture.width / sw, picture.height / sh];
    return [x * across, y * down, w * across, h * down];
  }
  const scale = Math.min(picture.width / width, picture.height / height);
  const [wide, high] = [width * scale, height * scale];
  return [(picture.width - wide) / 2, (picture.height - high) / 2, wide, high];
}

/** For the eye alone: the client makes gray of colours by itself. */
function gray(data: ImageData): ImageData {
  const shown = new ImageData(data.width, data.height);
  for (let i = 0; i < data.data.length; i += 4) {
    const [r = 0, g = 0, b = 0] = data.data.subarray(i, i + 3);
    shown.data.fill(0.299 * r + 0.587 * g + 0.114 * b, i, i + 3);
    shown.data[i + 3] = 255;
  }
  return shown;
}

/** Shows the first bytes of a ciphertext, each as a pixel. */
export function draw(bytes: Uint8Array, canvas: HTMLCanvasElement): void {
  [canvas.width, canvas.height] = [220, 90];
  const context = canvas.getContext("2d");
  if (context === null) return;
  const shown = new ImageData(canvas.width, canvas.height);
  // What is before is headers and the seed.
  const body = bytes.subarray(Math.min(512, bytes.length));
  for (let i = 0; i < canvas.width * canvas.height; i++) {
    shown.data.fill(body[i] ?? 0, 4 * i, 4 * i + 3);
    shown.data[4 * i + 3] = 255;
  }
  context.putImageData(shown, 0, 0);
}
