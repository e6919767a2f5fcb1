package pocketlens

import android.content.Context
import android.os.SystemClock
import androidx.camera.core.ImageAnalysis
import androidx.camera.core.ImageProxy
import com.google.mediapipe.framework.image.BitmapImageBuilder
import com.google.mediapipe.tasks.core.BaseOptions
import com.google.mediapipe.tasks.vision.core.ImageProcessingOptions
import com.google.mediapipe.tasks.vision.core.RunningMode
import com.google.mediapipe.tasks.vision.imageclassifier.ImageClassifier
import com.google.mediapipe.tasks.vision.imageclassifier.ImageClassifier.ImageClassifierOptions
import com.google.mediapipe.tasks.vision.imageclassifier.ImageClassifierResult
import org.json.JSONObject

/** A label and its score in 0-1. */
data class Answer(val label: String, val score: Float)

/** What the model's scores mean: card.json, from the app's assets. */
class Card(context: Context) {
    private val json =
        JSONObject(context.assets.open("card.json").bufferedReader().use { it.readText() })
    val task: String = json.getString("task")
    val threshold = json.getDouble("threshold").toFloat()
    val labels = json.getJSONArray("labels").let { all -> List(all.length(), all::getString) }

    /** The scores in the model's order; a binary model has one, that of labels[1]. */
    fun scores(result: ImageClassifierResult): FloatArray {
        val scores = FloatArray(if (task == "binary") 1 else labels.size)
        for (category in result.classificationResult().classifications().first().categories()) {
            scores[category.index()] = category.score()
        }
        return scores
    }

    /** What the model says: one label, or for a multilabel model any number of them. */
    fun answers(scores: FloatArray): List<Answer> {
        if (task == "binary") {
            val positive = scores[0] >= threshold
            return listOf(
                if (positive) Answer(labels[1], scores[0]) else Answer(labels[0], 1 - scores[0])
            )
        }
        val sure = labels.indices.filter { scores[it] >= threshold }.sortedByDescending { scores[it] }
        return sure.take(if (task == "multilabel") sure.size else 1)
            .map { Answer(labels[it], scores[it]) }
    }
}

/** Options that leave the threshold to the card, whose meaning depends on the task. */
fun classifierOptions(model: String, mode: RunningMode): ImageClassifierOptions.Builder =
    ImageClassifierOptions.builder()
        .setBaseOptions(BaseOptions.builder().setModelAssetPath(model).build())
        .setRunningMode(mode)
        .setScoreThreshold(1e-9f)

/**
 * Classifies camera frames. `onAnswers` and `onError` are called on a thread of MediaPipe's, for
 * the frames that it has time for; it drops the others.
 */
class LiveClassifier(
    context: Context,
    model: String,
    onAnswers: (List<Answer>) -> Unit,
    onError: (RuntimeException) -> Unit,
) : ImageAnalysis.Analyzer, AutoCloseable {
    private val card = Card(context)
    private val classifier = ImageClassifier.createFromOptions(
        context,
        classifierOptions(model, RunningMode.LIVE_STREAM)
            .setResultListener { result, _ -> onAnswers(card.answers(card.scores(result))) }
            .setErrorListener { error -> onError(error) }
            .build(),
    )

    override fun analyze(frame: ImageProxy) = frame.use {
        // The camera's sensor does not turn with the phone; this makes the picture upright.
        val upright = ImageProcessingOptions.builder()
            .setRotationDegrees(it.imageInfo.rotationDegrees)
            .build()
        val picture = BitmapImageBuilder(it.toBitmap()).build()
        classifier.classifyAsync(picture, upright, SystemClock.uptimeMillis())
    }

    override fun close() = classifier.close()
}
