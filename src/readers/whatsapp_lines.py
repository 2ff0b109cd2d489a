"""WhatsApp's own words, by language: what stands in an export where a message has none, and around those it has.

    <Media omitted>     Missed voice call     This message was deleted     IMG-20230312-WA0004.jpg (file attached)

whatsapp.py says when each counts.
"""
import re

from . import DELETED, MARKS, MEDIA, SYSTEM

BLANKS = ' \u00a0\u202f\u2009'                          # U+202F stands before AM and PM since 2023

# ---- what WhatsApp writes in the place of words, by language


def _phrases(text):
    """{phrase}: of a list with commas and line ends between, as `plain_words` makes them."""
    return {plain_words(phrase) for phrase in re.split(r'[,\n]', text) if phrase.strip()}


def plain_words(text):
    """Without marks, brackets, final stop and capitals."""
    return (text if text.isascii() else text.translate(CLEAN)).strip(' <>.。।').casefold()


CLEAN = {**dict.fromkeys(map(ord, MARKS)), **dict.fromkeys(map(ord, BLANKS), ' ')}

# Android, in <>, whatever the medium; the medium's caption, or a document's name, follows on the next lines.
OMITTED = _phrases('''
    media omitted, video note omitted, view once voice message omitted, voice message omitted, voice call omitted
    Medien ausgeschlossen, Medien weggelassen, Medien ausgelassen, Videonachricht ausgeschlossen, Videonotiz ausgelassen
    Multimedia omitido, Archivo omitido, Medios omitidos, nota de video omitida, Mitjans omesos
    Médias omis, Média omis, Fichier omis, note vidéo omise, Media omesso, Media omessi, nota video omessa, File multimediale omesso
    Mídia oculta, Mídia omitida, Arquivo de mídia oculto, Ficheiro não revelado, Ficheiro omitido, Multimédia omitida, nota de vídeo omitida
    Media weggelaten, Media weggelaat, Mediefil udeladt, Medier udeladt, Media har utelämnats, Media utelämnad, Uten vedlegg, Medier utelatt
    Media jätetty pois, Meedia ära jäetud, Bez multivides, Praleistas medijos turinys, pominięto multimedia, pliki pominięto, Pominięto plik
    Média vynechána, Média vynechány, Médiá vynechané, Hiányzó médiafájl, Médiafájl kihagyva, Conținut media omis, Fișier media omis
    Medijski zapis izostavljen, Medij izpuščen, Εξαίρεση πολυμέσων, Παράλειψη πολυμέσων
    Без медиафайлов, Файл пропущен, Медіа пропущено, Медіафайл пропущено, Без файл, Без фајл, Файл қосылған жоқ, Medya dahil edilmedi
    Medya atlanmış, Medya çıkarıldı, Media çıxarılmışdır, Media tidak disertakan, Media disingkirkan, Pa media, Media imerukwa
    Walang kalakip na media, Bỏ qua Media, מדיה הושמטה, המדיה לא נכללה, תוכן המדיה הושמט, تم استبعاد الوسائط, ملفات مفقودة, میڈیا چھوڑ دیا گیا
    मीडिया के बिना, मीडिया वगळले, মিডিয়া বাদ দেওয়া হয়েছে, મીડિયા અવગણાયું, ਮੀਡੀਆ ਛੱਡਿਆ ਗਿਆ, మాధ్యమం విస్మరించబడింది, ಮೀಡಿಯಾ ಕೈಬಿಡಲಾಗಿದೆ
    മീഡിയ ഒഴിവാക്കി, ஊடகங்கள் நீக்கப்பட்டது, สื่อถูกลบ, メディアは含まれていません, メディアなし, 미디어 파일을 생략한 대화내용, 미디어 파일 제외됨
    省略多媒体文件, 忽略多媒體檔, 媒体文件已省略, 已省略多媒體檔案
''')

# iPhone, for each medium; the whole body, or behind a caption and U+200E.
DOCUMENT_OMITTED = _phrases('''
    document omitted, Dokument weggelassen, documento omitido, documento omesso, documento não revelado, document manquant, document weggelaten
    dokument udeladt, dokument uteslutet, utelatt dokument, dokumenttia ei sisällytetä, dokument pominięty, dokument vynechán, dokument vynechaný
    dokumentum kihagyva, document omis, document omès, dokument izostavljen, έγγραφο παραλείφθηκε, документ отсутствует, документ пропущено
    belge dahil edilmedi, dokumen tidak disertakan, dokumen tidak dimasukkan, đã bỏ qua tài liệu, ละเว้นเอกสาร, מסמך הושמט
    لم يتم إدراج المستند, سند حذف شد, دستاویز نظرانداز, डॉक्यूमेंट छोड़ा गया, डॉक्युमेंट वगळले, ডকুমেন্ট বাদ দেওয়া হয়েছে, ドキュメントは含まれていません
    문서 생략됨, 文档已省略, 文件已略去, 文件已忽略
''')
DOCUMENT_ENDS = tuple(' ' + phrase for phrase in DOCUMENT_OMITTED)    # `Plan.pdf • 2 pages document omitted`
MISSING = DOCUMENT_OMITTED | _phrases('''
    image omitted, video omitted, audio omitted, sticker omitted, GIF omitted, contact card omitted, video note omitted, voice message omitted
    Bild weggelassen, Video weggelassen, Audio weggelassen, Sticker weggelassen, GIF weggelassen, Kontaktkarte ausgelassen
    Videonachricht weggelassen, Kontaktkarte weggelassen
    imagen omitida, video omitido, audio omitido, sticker omitido, GIF omitido, tarjeta de contacto omitida, nota de video omitida
    image absente, vidéo absente, audio omis, sticker omis, GIF retiré, fiche contact manquante, note vidéo omise
    immagine omessa, video omesso, audio omesso, sticker non incluso, GIF esclusa, scheda contatto omessa, videomessaggio omesso
    imagem ocultada, vídeo ocultado, vídeo omitido, áudio ocultado, figurinha omitida, cartão do contato omitido
    imagem não revelada, vídeo não revelado, ficheiro de áudio não revelado, sticker não revelado, GIF não revelada, contacto não revelado
    afbeelding weggelaten, video weggelaten, audio weggelaten, sticker weggelaten, GIF weggelaten, visitekaartje weggelaten
    billede udeladt, video udeladt, lyd udeladt, klistermærke udeladt, GIF udeladt, kontaktkort udeladt
    bild utesluten, video utesluten, ljud utelslutet, ljud uteslutet, sticker utesluten, GIF utesluten, kontaktkort uteslutet
    bilde ikke inkludert, video utelatt, lyd utelatt, klistremerke utelatt, GIF utelatt, kontaktkort sløyfet
    ei kuvaa, videota ei sisällytetä, äänitiedostoa ei sisällytetä, tarraa ei sisällytetty, GIF-animaatio jätetty pois
    yhteystietokortti jätettiin pois
    obraz pominięty, wideo pominięte, audio pominięte, pominięto naklejkę, plik GIF pominięty, pominięta wizytówka kontaktu
    obrázek vynechán, video vynecháno, zvukový soubor vynechán, nálepka vynechána, GIF vynechán, vizitka vynechána
    obrázok vynechaný, video vynechané, zvuk vynechaný, nálepka vynechaná, GIF vynechaný, karta kontaktu vynechaná
    kép küldése sikertelen, videó kihagyva, hang kihagyása, matrica kihagyva, GIF fájl kihagyása, névjegykártya kihagyva
    imagine omisă, clip video omis, fără audio, GIF omis, carte de vizită contact omisă
    imatge omesa, vídeo omès, àudio omès, adhesiu omès, GIF omès, targeta de contacte omesa
    slika izostavljena, video izostavljen, zvuk izostavljen, naljepnica izostavljena, GIF izostavljen, posjetnica izostavljena
    εικόνα παραλείφθηκε, βίντεο παραλείφθηκε, ήχος παραλείφθηκε, αυτοκόλλητο παραλήφθηκε, παράληψη GIF, η κάρτα επαφής παραλήφθηκε
    изображение отсутствует, видео отсутствует, аудиофайл отсутствует, стикер не добавлен, GIF отсутствует, карточка контакта отсутствует
    зображення відсутнє, відео відсутнє, аудіо відсутнє, наклейку не додано, GIF-анімацію пропущено, картка контакту відсутня
    görüntü dahil edilmedi, video dahil edilmedi, ses dahil edilmedi, çıkartma dahil edilmedi, GIF dahil edilmedi, kişi kartı dahil edilmedi
    gambar tidak disertakan, video tidak disertakan, audio tidak disertakan, stiker tidak disertakan, GIF tidak disertakan
    kartu kontak tidak disertakan
    imej tidak dimasukkan, video tidak dimasukkan, audio tidak dimasukkan, pelekat tidak disertakan, GIF tidak dimasukkan
    kad kenalan tidak dimasukkan
    đã bỏ qua hình ảnh, đã bỏ video, bỏ qua tệp âm thanh, đã bỏ sticker, đã bỏ qua ảnh GIF, bỏ qua thẻ liên lạc
    ไม่มีรูปภาพ, วิดีโอถูกลบ, ไม่มีไฟล์เสียง, ไม่มีสติกเกอร์, ละเว้น GIF, บัตรรายชื่อที่ละเว้น
    התמונה הושמטה, סרטון הווידאו הושמט, קטע קול הושמט, סטיקר הושמט, GIF הושמט, כרטיס איש קשר הושמט
    لم يتم إدراج الصورة, لم يتم إدراج الفيديوهات, لم يتم إدراج المقاطع الصوتية, تم حذف الملصقات, لم يتم إدراج صورة GIF, لم يتم إدراج بطاقة جهة اتصال
    تصویر حذف شد, ویدیو حذف شد, صدا حذف شد, استیکر حذف شد, GIF حذف شد, برگ مخاطب حذف شد
    फ़ोटो हटाई गई, वीडियो छोड़ा गया, ऑडियो हटाई गयी, स्टिकर छोड़ा गया, GIF छोड़ा गया, कॉन्टैक्ट कार्ड छोड़ा गया
    画像は含まれていません, ビデオは含まれていません, 音声は含まれていません, スタンプは含まれていません, GIFは含まれていません, 連絡先カードを省略
    이미지 생략됨, 비디오 생략됨, 오디오 생략됨, 스티커 제외됨, GIF 생략됨, 연락처 카드 생략됨
    照片已忽略, 视频已忽略, 音频已忽略, 贴图已省略, GIF 动态图已被忽略, 联系人卡片已忽略, 图像已忽略
    圖片已略去, 圖像已省略, 影片已略去, 影片已省略, 音訊已略去, 音訊已省略, 貼圖已略去, 貼圖已忽略, GIF 已略去, GIF 圖片已被省略, 聯絡人卡片已略去, 聯絡人卡片已省略
''')

# A live location, a picture to be seen once (`null` on Android), as the whole body.
SHARED = _phrases('''
    null, live location shared, Live-Standort wird geteilt, ubicación en tiempo real compartida, localisation en direct partagée
    posizione attuale condivisa, localização atual compartilhada, live locatie gedeeld, live placering delt, liveposition delad
    posisjon i sanntid delt
    live-sijainti jaettu, udostępniona transmisja położenia, byla sdílena aktuální poloha, геоданные отправлены, геодані надіслано
    mevcut konum paylaşıldı, lokasi terkini dibagikan, ライブロケーション共有, 공유한 실시간 위치, 共享实时位置, 實時位置已分享, تمت مشاركة الموقع المباشر
    view once photo, view once video, view once message, view once voice message
''')

REMOVED = _phrases('''
    this message was deleted, you deleted this message, you deleted this message as admin, message deleted, deleted message
    Diese Nachricht wurde gelöscht, Du hast diese Nachricht gelöscht, Nachricht gelöscht, Du hast diese Nachricht als Admin gelöscht
    se eliminó este mensaje, este mensaje fue eliminado, eliminaste este mensaje, aquest missatge s'ha suprimit, has suprimit aquest missatge
    aquest missatge està esborrat, has esborrat aquest missatge
    ce message a été supprimé, vous avez supprimé ce message, questo messaggio è stato eliminato, hai eliminato questo messaggio
    esta mensagem foi apagada, você apagou esta mensagem, apagou esta mensagem, mensagem apagada, esta mensagem foi apagada pelo remetente
    dit bericht is verwijderd, u hebt dit bericht verwijderd, je hebt dit bericht verwijderd, jy het boodskap uitgevee, hierdie boodskap was uitgevee
    denne besked er blevet slettet, denne besked blev slettet, du har slettet denne besked, du slettede denne besked
    det här meddelandet raderades, detta meddelande raderades, du raderade det här meddelandet, du har tagit bort meddelandet
    du raderade detta meddelande
    denne meldingen ble slettet, du slettet denne meldingen, tämä viesti poistettiin, poistit tämän viestin
    see sõnum on kustutatud, kustutasid selle sõnumi, šī ziņa tika izdzēsta, jūs izdzēsāt šo ziņu, ši žinutė buvo ištrinta, jūs ištrynėte šią žinutę
    ta wiadomość została usunięta, usunięto tę wiadomość, usunąłeś(-ęłaś) tę wiadomość, usunąłeś(aś) tę wiadomość
    tato zpráva byla odstraněna, tato zpráva byla smazána, tuto zprávu jste odstranil/a, tuto zprávu jste smazal/a
    táto správa bola odstránená, túto správu ste odstránili, ez az üzenet törlésre került, törölted ezt az üzenetet, ezt az üzenetet törölted
    acest mesaj a fost șters, ați șters acest mesaj, ova poruka je izbrisana, ova je poruka izbrisana, izbrisali ste ovu poruku
    to sporočilo je bilo izbrisano, to sporočilo ste izbrisali, съобщението беше изтрито, изтрихте това съобщение
    αυτό το μήνυμα διαγράφηκε, διαγράψατε αυτό το μήνυμα, διαγράψατε το μήνυμα
    данное сообщение удалено, сообщение удалено, вы удалили данное сообщение, вы удалили это сообщение
    це повідомлення було видалено, це повідомлення видалено, ви видалили це повідомлення, ова порука је обрисана
    bu mesaj silindi, bu mesajı sildiniz, bu ismarıc silindi, pesan ini dihapus, pesan ini telah dihapus, anda menghapus pesan ini
    anda telah menghapus pesan ini
    mesej ini telah dipadam, mesej ini telah dipadamkan, anda telah memadamkan mesej ini, itong mensahe ay binura na, binura mo itong mensahe
    tin nhắn này đã bị xóa, tin nhắn này đã bị xoá, bạn đã xóa tin nhắn này, bạn đã xoá tin nhắn này, ข้อความนี้ถูกลบแล้ว, ข้อความนี้ได้ถูกลบ
    คุณได้ลบข้อความนี้, คุณลบข้อความนี้
    הודעה זו נמחקה, מחקת הודעה זו, מחקת את ההודעה הזו, تم حذف هذه الرسالة, لقد حذَفت هذه الرسالة, أنت حذفت هذه الرسالة, حذفت هذه الرسالة
    این پیام حذف شد, این پیام حذف شده است, شما این پیام را حذف کردید, یہ پیغام حذف کیا گیا, یہ میسج حذف کر دیا گیا ہے, آپ نے یہ میسج حذف کر دیا ہے
    यह मैसेज डिलीट कर दिया गया है, यह संदेश मिटाया गया, आपने यह मैसेज डिलीट किया, आपने यह संदेश मिटाया, हा मेसेज हटवण्यात आला, तुम्ही हा मेसेज हटवला
    এই মেসেজটি বাদ দেওয়া হয়েছে, এই বার্তাটি মুছে ফেলা হয়েছে, আপনি এই মেসেজটি বাদ দিয়েছেন, આ મેસેજ ડિલીટ કરાયો, તમે આ મેસેજ ડિલીટ કર્યો
    このメッセージは削除されました, このメッセージを削除しました, 이 메시지는 삭제되었습니다, 삭제된 메시지입니다, 삭제한 메시지입니다, 이 메시지를 삭제했습니다
    此訊息已刪除, 您已刪除此訊息, 你已刪除此訊息, 这条消息已被删除, 此消息已删除, 信息已删除, 您已删除这条消息, 你删除了这条消息
''')

CALLS = _phrases('''
    missed voice call, missed video call, missed group voice call, missed group video call, missed call, silenced voice call, silenced video call
    waiting for this message. this may take a while, waiting for this message
    verpasster Sprachanruf, verpasster Videoanruf, llamada perdida, llamada de voz perdida, videollamada perdida, appel vocal manqué
    appel vidéo manqué
    chiamata vocale persa, videochiamata persa, chamada de voz perdida, chamada de vídeo perdida, videochamada perdida, ligação de voz perdida
    ligação de vídeo perdida, gemiste spraakoproep, gemist spraakgesprek, gemiste video-oproep, gemist videogesprek, ubesvaret taleopkald
    ubesvaret videoopkald, missat röstsamtal, missat videosamtal, tapt taleanrop, tapt videoanrop, vastaamaton äänipuhelu, vastaamaton videopuhelu
    nieodebrane połączenie, nieodebrane połączenie głosowe, nieodebrane połączenie wideo, zmeškaný hovor, zmeškaný hlasový hovor, zmeškaný videohovor
    nem fogadott hanghívás, nem fogadott videohívás, apel vocal nepreluat, apel video nepreluat, αναπάντητη φωνητική κλήση, αναπάντητη βιντεοκλήση
    пропущенный аудиозвонок, пропущенный видеозвонок, пропущений аудіодзвінок, пропущений відеодзвінок, cevapsız sesli arama, cevapsız görüntülü arama
    panggilan suara tak terjawab, panggilan video tak terjawab, cuộc gọi nhỡ, cuộc gọi nhỡ video, שיחה קולית שלא נענתה, שיחת וידאו שלא נענתה
    مكالمة صوتية فائتة, مكالمة فيديو فائتة, मिस्ड वॉइस कॉल, मिस्ड वीडियो कॉल, 不在着信, 音声通話不在着信, ビデオ通話不在着信, 부재중 전화, 부재중 영상통화
    未接语音通话, 未接视频通话, 未接語音通話, 未接視像通話, 未接視訊通話
''')

WHOLE = {**dict.fromkeys(MISSING | SHARED, MEDIA), **dict.fromkeys(REMOVED, DELETED), **dict.fromkeys(CALLS, SYSTEM)}
LONGEST_PHRASE = max(map(len, WHOLE)) + 8               # and a stop, brackets, marks

# Behind a file's name on Android: `Plan.pdf (file attached)`.
ATTACHED = _phrases('''
    file attached, Datei angehängt, archivo adjunto, archivo adjuntado, arxiu adjunt, fichier joint, file allegato, arquivo anexado, ficheiro anexado
    bestand bijgevoegd, lêer aangeheg, fil vedhæftet, bifogad fil, fil bifogad, vedlagt fil, liitetiedosto, tiedosto liitetty, fail lisatud
    pievienots fails
    byla prisegta, załączony plik, plik załączony, soubor byl přiložen, súbor pripojený, fájl csatolva, fișier atașat, datoteka u privitku
    priložena datoteka
    skedë e ngjitur, прикачен файл, прикачен фајл, прикачена датотека, συνημμένο αρχείο, файл добавлен, файл прикреплен, файл додано, қосымша файл
    dosya ekli, fayl əlavə olunub, fayl biriktirildi, file terlampir, fail dilampirkan, nakalakip na file, faili limeambatanishwa, tệp đính kèm
    ไฟล์ที่แนบ, קובץ מצורף, الملف مرفق, ملف مرفق, پیوست شد, پیوستہ فائل, फ़ाइल संलग्न है, फाइल अटैच कर दी गई है, फाइल संलग्न, ফাইল সংযুক্ত হয়েছে
    ફાઇલ જોડાયેલ
    ఫైల్ జోడించబడినది, ഫയൽ ചേർത്തു, ಕಡತ ಸೇರಿಸಲಾಯಿತು, ਅਟੈਚ ਕੀਤੀ ਫਾਇਲ, 添付ファイル, 添付ファイル有り, 파일 첨부됨, 文件附件, 附件檔案, 檔案已附加
''')
EDITED = _phrases('''
    this message was edited, Diese Nachricht wurde bearbeitet, se editó este mensaje, mensaje editado, ce message a été modifié
    questo messaggio è stato modificato
    esta mensagem foi editada, mensagem editada, dit bericht is bewerkt, dit bericht is gewijzigd, denne besked blev redigeret
    denne besked er blevet redigeret
    det här meddelandet redigerades, denne meldingen ble redigert, tätä viestiä muokattiin, tätä viestiä on muokattu, ta wiadomość została zmieniona
    wiadomość została edytowana, ta wiadomość została edytowana, tato zpráva byla upravena, táto správa bola upravená, ezt az üzenetet szerkesztették
    acest mesaj a fost editat, αυτό το μήνυμα υποβλήθηκε σε επεξεργασία, сообщение изменено, данное сообщение изменено, это сообщение было изменено
    це повідомлення змінено, це повідомлення було відредаговано, bu mesaj düzenlendi, pesan ini diedit, mesej ini telah diedit
    tin nhắn này đã được chỉnh sửa
    ההודעה נערכה, הודעה זו נערכה, تم تعديل هذه الرسالة, این پیام ویرایش شد, इस मैसेज में बदलाव किया गया, このメッセージは編集されました, 이 메시지는 수정되었습니다
    此消息已编辑, 此消息已修改, 此訊息已編輯, ข้อความนี้ถูกแก้ไข
''')

# ---- and around words: shapes that are the same in every language

IOS_FILE = re.compile(
    r'[\u200e\u200f]<[^<>:\n]{2,40}: [^<>\n]+>|<[^<>:\n]{2,40}: \d{8}-[^<>\n]+>'
    r'|<(?:attached|Anhang|angehängt|adjunto|adjunt|pièce jointe|allegato|anexo|anexado|bijgevoegd|vedhæftet|bifogat|vedlagt|liite|załączono|příloha|príloha'
    r'|csatolva|atașare|priloženo|επισυνάφθηκε|прикреплено|додано|eklendi|terlampir|dilampirkan|đính kèm|แนบ|מצורף|المُرفق|پیوست|अटैच किया गया|첨부됨'
    r'|添付ファイル|附件): [^<>\n]+>')
ANDROID_FILE = re.compile(rf'[{MARKS}]{{0,3}}([^\n]+\.\w{{2,5}}) \(([^()\n]{{2,40}})\)(?:\n|$)')
CAMERA = re.compile(r'(?:IMG|VID|AUD|PTT|STK|DOC)-\d{8}-WA\d+\.\w+$')
ANDROID_OMITTED = re.compile(rf'[{MARKS}]{{0,3}}<([^<>\n]{{3,60}})>(?:\n|$)')
DOCUMENT = re.compile(r'[^\n]+\.(?:pdf|docx?|xlsx?|pptx?|odt|ods|txt|csv|rtf|zip|rar|7z|apk|vcf|ics|epub|html?|json|xml|mp[34]|m4a|opus|ogg|wav'
                       r'|jpe?g|png|gif|webp|mov|heic|psd|key|pages)(?: • [^\n]+)?', re.I)
LOCATION = re.compile(r'[^\n]{0,80}?: ?https?://(?:maps\.google\.com/\?q=|(?:www\.)?foursquare\.com/v/)\S+')
POLL = re.compile(r'[^\W\d][^\n:]{1,20}:\n[^\n]+(?:\n[^\n:]{2,20}: [^\n]*\([^()\n\d]{0,20}\d{1,7}[^()\n\d]{0,20}\))+\s*')
MENTION = re.compile('@\u2068([^\u2068\u2069\n]*)\u2069')

# Notices that iPhones write under somebody's name: how they start. Those of the first sort have the word WhatsApp in them.
NOTICE = re.compile('|'.join((
    r'Messages (?:and calls|to this (?:chat|group)|you send to this)[^\n]*(?:encrypt|secure)', 'Nachrichten und Anrufe sind Ende-zu-Ende',
    'Nachrichten, die du in dies', 'Los mensajes y las llamadas (?:est|en est)', 'Los mensajes en este (?:chat|grupo)', 'Els missatges i les trucades',
    'Les messages et les appels', 'Les messages envoyés dans ce', 'I messaggi e le chiamate', 'As mensagens e (?:as )?(?:chamadas|ligações)',
    'Berichten en gesprekken worden', 'Beskeder og opkald er', 'Meddelanden och samtal är', 'Meldinger og samtaler er', 'Viestit ja puhelut salataan',
    'Wiadomości i połączenia są', 'Zprávy a hovory jsou', 'Správy a hovory sú', 'Az üzenetek és hívások', 'Mesajele și apelurile',
    'Poruke i pozivi zaštićeni', 'Τα μηνύματα και οι κλήσεις', 'Сообщения и звонки защищены', 'Повідомлення й дзвінки захищено',
    'Mesajlar ve aramalar uçtan uca', 'Pesan dan panggilan terenkripsi', 'Mesej dan panggilan disulitkan', 'Tin nhắn và cuộc gọi được mã hóa',
    'ข้อความและการโทรได้รับการเข้ารหัส', 'ההודעות והשיחות מוצפנות', 'الرسائل والمكالمات مشفرة', 'پیام[\u200c ]?ها و تماس', 'میسجز اور کالز',
    'मैसेजेस और कॉल्स', 'মেসেজ এবং কল', 'メッセージと通話はエンドツーエンド', '메시지 및 전화는', '消息和通话都进行端到端', '訊息和通話經端對端', '訊息已受端對端')))
SHORT_NOTICE = re.compile('|'.join((
    'This message was deleted by admin ', 'Diese Nachricht wurde vo[mn] Admin', 'You (?:received|sent) a view once ',
    'Recibiste un mensaje de visualización única', r'Your security code with .* changed\.', r'Deine Sicherheitsnummer für .* hat sich geändert\.',
    'Cambió tu código de seguridad con ', r'Votre code de sécurité avec .* a changé\.', r'Il tuo codice di sicurezza con .* è cambiato\.',
    r'(?:O s|S)eu código de segurança (?:partilhado )?com .* mudou\.', r'(?:Uw|Je) beveiligingscode voor .* is gewijzigd\.',
    r'Ваш код безопасности с контактом .* изменился\.', r'Код безпеки з контактом .* змінився\.', r'Kode keamanan Anda dengan .* telah berubah\.',
    'รหัสความปลอดภัยของคุณกับ ', r'קוד האבטחה עם .* שונה\.', '您[与與和] ?.* ?(?:之間)?的安全(?:代码|代碼|码|碼)已(?:更改|變更)。')))

# What a system line has before a colon, if it has one: `Theo changed the group description. New text: ...`.
SYSTEM_WORDS = re.compile(
    r'\b(?:changed (?:the|this|their|to)|created (?:this |the )?(?:group|community)|(?<= )(?:added|removed) \S'
    r'|joined (?:using|from|via|a group|the (?:group|community))|left the (?:group|community)|pinned a message'
    r'|turned (?:on|off)|security code|now an admin|hat (?:den|die|das|sich|dich)|haben? .* (?:hinzugefügt|entfernt)|wurdest?|cambi[óo]|cre[óo] |añadi[óo]'
    r'|agreg[óo]|elimin[óo]|a (?:changé|modifié|créé|ajouté|retiré|supprimé)|ha (?:cambiato|modificato|creato|aggiunto|rimosso)|mudou|alterou|criou'
    r'|adicionou|removeu|heeft (?:het|de|deze|je|u)|ændrede|oprettede|tilføjede|ändrade|skapade|lade till|endret|opprettet|la til|muutti|loi ryhmän|lisäsi'
    r'|zmieni[łl]|utworzy[łl]|doda[łl]|změnil|vytvořil|přidal|a schimbat|a creat|a adăugat|megváltoztatta|létrehozta|изменил|создал|добавил|удалил|змінив'
    r'|створив|додав|değiştirdi|oluşturdu|ekledi|çıkardı|mengubah|membuat grup|menambahkan)')
QUOTES = re.compile('["“”„«»「」『』]')
# On iPhones without the mark, under and after the name of who did it: `Mara: Mara added Theo`.
DEED = re.compile(
    r' (?:created (?:this |the )?group|changed (?:the (?:subject|group (?:name|description))|this group)|added |removed |joined using|left$|pinned a message'
    r'|turned o(?:n|ff) |hat (?:die Gruppe|den Betreff|das Gruppen)|creó (?:el|este) grupo|cambió (?:el|la|los) |a créé '
    r'|a (?:changé|modifié) (?:le|la|l[’\']|ce)|ha creato |ha cambiato |criou (?:o|este) grupo|mudou |heeft (?:de groep|deze groep|het onderwerp)'
    r'|создал|изменил|grubu oluşturdu|membuat grup)')
GROUP = re.compile(
    r'\bgroup(?:s|\'s)?\b(?! (?:voice|video|call))|\bgroupe\b|\bgruppe(?!n-)|\bgrup|\bgrub[au]|\bgruppo\b|\bgroep\b|групп|груп[аиіу]|skupin|ryhmä'
    r'|csoport|ομάδα|קבוצה|مجموعة|گروه|گروپ|समूह|ग्रुप|গ্রুপ|กลุ่ม|\bnhóm\b|グループ|그룹|群[組组]', re.I)

TITLE = re.compile(
    r'(?:[^\W\d]+ (?:d[eo] )?)?WhatsApp(?:[- ](?:chatt?|чат|Sohbeti|keskustelu|beszélgetés|Unterhaltung))?'
    r' (?:-|–|with|mit|con|avec|com|met|med|dengan|cu|amb|z użytkownikiem|z|s uživatelem|s používateľom|s|с контактом|с|з контактом|з|με|עם|مع) (.+)'
    r'|(.+?) ile WhatsApp (?:Sohbeti|Yazışması)|[与與] ?(.+?) ?的 ?WhatsApp.*', re.I)
