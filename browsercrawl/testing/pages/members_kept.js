// Two places in which a page can keep a text under a name: both read null where there is none.

export const local = {
  read: async (name) => localStorage.getItem(name),
  write: async (name, text) => localStorage.setItem(name, text),
};

const settled = (request) =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });

async function table(mode) {
  const opening = indexedDB.open("members", 1);
  opening.onupgradeneeded = () => opening.result.createObjectStore("kept");
  return (await settled(opening)).transaction("kept", mode);
}

export const idb = {
  read: async (name) => {
    const reading = await table("readonly");
    const text = await settled(reading.objectStore("kept").get(name));
    reading.db.close();
    return text ?? null;
  },
  write: async (name, text) => {
    const writing = await table("readwrite");
    const written = new Promise((resolve, reject) => {
      writing.oncomplete = resolve;
      writing.onabort = () => reject(writing.error);
    });
    writing.objectStore("kept").put(text, name);
    await written;
    writing.db.close();
  },
};
